//! Random queries on the shop. Of each it is known which of its columns derive from a secret, and whether a secret stands
//! where it may be refused.

/// A small generator of numbers, the same for the same seed everywhere.
pub struct Numbers(u64);

impl Numbers {
    /// From a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// So many times out of a hundred.
    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    Date,
}

#[derive(Clone, Debug)]
struct Expression {
    sql: String,
    ty: Type,
    secret: bool,
}

/// A query.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its text.
    pub sql: String,
    /// Of each of its columns, whether it derives from a secret.
    pub secret: Vec<bool>,
    /// Whether a secret stands where it may be refused.
    pub risky: bool,
    types: Vec<Type>,
}

/// A relation, and its columns: name, type, whether it is secret.
type Relation = (&'static str, &'static [(&'static str, Type, bool)]);

/// Tables and views.
const SOURCES: [Relation; 7] = [
    (
        "people",
        &[
            ("id", Type::Int, false),
            ("name", Type::Text, false),
            ("city", Type::Text, false),
            ("joined", Type::Date, false),
            ("email", Type::Text, true),
            ("ssn", Type::Text, true),
            ("born", Type::Date, true),
            ("pin", Type::Int, true),
            ("member", Type::Text, true),
            ("shout", Type::Text, true),
        ],
    ),
    (
        "payments",
        &[
            ("id", Type::Int, false),
            ("person_id", Type::Int, false),
            ("at", Type::Date, false),
            ("pan", Type::Text, true),
            ("member", Type::Text, true),
        ],
    ),
    ("contacts", &[("id", Type::Int, false), ("kind", Type::Text, false), ("email", Type::Text, true)]),
    (
        "notes",
        &[("id", Type::Int, false), ("body", Type::Text, false), ("n", Type::Int, false), ("at", Type::Date, false)],
    ),
    ("cards", &[("id", Type::Int, false), ("contact", Type::Text, true), ("number", Type::Text, true)]),
    ("known", &[("id", Type::Int, false), ("name", Type::Text, false)]),
    ("shouted", &[("id", Type::Int, false), ("loud", Type::Text, true), ("size", Type::Int, true)]),
];

/// Makes queries.
pub struct Maker<'a> {
    numbers: &'a mut Numbers,
    names: usize,
    risky: bool,
}

impl<'a> Maker<'a> {
    /// With these numbers.
    pub const fn new(numbers: &'a mut Numbers) -> Self {
        Self { numbers, names: 0, risky: false }
    }

    /// One query. Now and then it is none that PostgreSQL takes.
    pub fn query(mut self) -> Query {
        let mut query = self.select(2);
        query.risky = self.risky;
        if self.numbers.percent(5) {
            let other = *self.numbers.one(&["missing", "from", "name + 1", "1 / 0", "'x'::int"]);
            query.sql = query.sql.replacen("select ", &format!("select {other}, "), 1);
            query.secret.insert(0, false);
        }
        query
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("t{}", self.names)
    }

    fn select(&mut self, depth: usize) -> Query {
        let arms = if depth > 0 && self.numbers.percent(10) { 2 } else { 1 };
        let first = self.arm(depth, None);
        if arms == 1 {
            return first;
        }
        let second = self.arm(depth - 1, Some(&first.types));
        let secret = first.secret.iter().zip(&second.secret).map(|(one, other)| *one || *other).collect();
        Query { sql: format!("({}) union all ({})", first.sql, second.sql), secret, ..first }
    }

    fn arm(&mut self, depth: usize, types: Option<&[Type]>) -> Query {
        let (from, scope, condition) = self.from(depth);
        let grouped = self.numbers.percent(15);
        let count = types.map_or_else(|| 1 + self.numbers.below(4), <[Type]>::len);
        let mut list = Vec::new();
        let key = scope.iter().filter(|column| !column.secret).cloned().collect::<Vec<_>>();
        let key = self.numbers.one(&key).clone();
        for at in 0..count {
            let ty = types.map(|types| types[at]);
            let value = self.expression(&scope, depth, ty);
            list.push(if grouped { self.aggregate(value) } else { value });
        }
        let mut sql = String::from("select ");
        if !grouped && self.numbers.percent(5) {
            self.risky |= list.iter().any(|value| value.secret);
            sql.push_str("distinct ");
        }
        let shown: Vec<String> = list.iter().enumerate().map(|(at, value)| format!("{} as c{at}", value.sql)).collect();
        sql += &format!("{} from {from}", shown.join(", "));
        if let Some(condition) = condition {
            sql += &format!(" where {condition}");
        }
        if grouped {
            sql += &format!(" group by {}", key.sql);
        }
        if !sql.starts_with("select distinct") && self.numbers.percent(50) {
            let open: Vec<usize> = (0..count).filter(|at| !list[*at].secret).collect();
            let at = if open.is_empty() || self.numbers.percent(5) {
                self.numbers.below(count)
            } else {
                *self.numbers.one(&open)
            };
            self.risky |= list[at].secret;
            sql += &format!(" order by {}", at + 1);
        }
        Query {
            sql,
            secret: list.iter().map(|value| value.secret).collect(),
            types: list.iter().map(|value| value.ty).collect(),
            risky: false,
        }
    }

    /// What is read, its columns, and a condition.
    fn from(&mut self, depth: usize) -> (String, Vec<Expression>, Option<String>) {
        let (mut from, mut scope) = self.source(depth);
        if self.numbers.percent(35) {
            let (other, columns) = self.source(depth);
            let pick = |maker: &mut Self, columns: &[Expression]| {
                let ints: Vec<String> = columns
                    .iter()
                    .filter(|one| one.ty == Type::Int && !one.secret)
                    .map(|one| one.sql.clone())
                    .collect();
                (!ints.is_empty()).then(|| maker.numbers.one(&ints).clone())
            };
            match (pick(self, &scope), pick(self, &columns)) {
                (Some(left), Some(right)) => {
                    let kind = *self.numbers.one(&["join", "left join", "full join"]);
                    from += &format!(" {kind} {other} on {left} = {right}");
                }
                _ => from += &format!(" cross join {other}"),
            }
            scope.extend(columns);
        }
        let condition = self.numbers.percent(60).then(|| self.condition(&scope));
        (from, scope, condition)
    }

    fn source(&mut self, depth: usize) -> (String, Vec<Expression>) {
        let alias = self.name();
        if depth > 0 && self.numbers.percent(25) {
            let inner = self.select(depth - 1);
            let columns = inner.types.iter().zip(&inner.secret).enumerate();
            let scope = columns.map(|(at, (ty, secret))| Expression {
                sql: format!("{alias}.c{at}"),
                ty: *ty,
                secret: *secret,
            });
            let scope: Vec<_> = scope.chain([Expression { sql: "7".into(), ty: Type::Int, secret: false }]).collect();
            let lateral = if self.numbers.percent(20) { "lateral " } else { "" };
            return (format!("{lateral}({}) {alias}", inner.sql), scope);
        }
        let (table, columns) = *self.numbers.one(&SOURCES);
        let scope = columns.iter().map(|(name, ty, secret)| Expression {
            sql: format!("{alias}.{name}"),
            ty: *ty,
            secret: *secret,
        });
        (format!("{table} {alias}"), scope.collect())
    }

    fn condition(&mut self, scope: &[Expression]) -> String {
        let column = self.numbers.one(scope).clone();
        if column.secret && self.numbers.percent(75) {
            return self.condition(scope);
        }
        let sql = &column.sql;
        // Of dates nothing may be asked, and of what is no column as it stands, either.
        let name = sql.rsplit('.').next().unwrap();
        let made =
            ["size", "loud", "shout"].contains(&name) || name.strip_prefix('c').is_some_and(|rest| rest.len() == 1);
        self.risky |= column.secret && (made || column.ty == Type::Date);
        let (constant, other) = match column.ty {
            Type::Text => ("'Oslo'", "'M'"),
            Type::Int => ("2", "3"),
            Type::Date => ("date '2021-02-01'", "date '2020-06-01'"),
        };
        match self.numbers.below(5) {
            0 => format!("{sql} = {constant}"),
            1 => format!("{sql} is not null"),
            2 => format!("{sql} in ({constant}, {other})"),
            3 => {
                self.risky |= column.secret;
                format!("{sql} > {other}")
            }
            _ => {
                self.risky |= column.secret;
                format!("not ({sql} < {other}) or {sql} is null")
            }
        }
    }

    fn expression(&mut self, scope: &[Expression], depth: usize, ty: Option<Type>) -> Expression {
        let fitting: Vec<_> = scope.iter().filter(|column| ty.is_none_or(|ty| column.ty == ty)).cloned().collect();
        if fitting.is_empty() {
            let sql = match ty.unwrap() {
                Type::Text => "'text'::text",
                Type::Int => "5",
                Type::Date => "date '2022-02-02'",
            };
            return Expression { sql: sql.into(), ty: ty.unwrap(), secret: false };
        }
        let column = self.numbers.one(&fitting).clone();
        if depth == 0 || self.numbers.percent(55) {
            return column;
        }
        let other = self.expression(scope, depth - 1, Some(column.ty));
        let secret = column.secret || other.secret;
        let sql = match (column.ty, self.numbers.below(5)) {
            (Type::Text, 0) => format!("upper({})", column.sql),
            (Type::Text, 1) => format!("{} || {}", column.sql, other.sql),
            (_, 0..=2) => format!("coalesce({}, {})", column.sql, other.sql),
            (_, 3) => {
                let condition = self.condition(scope);
                // Which of the two it is derives from what it depends on.
                let depends = scope.iter().any(|one| one.secret && condition.contains(&one.sql));
                let sql = format!("case when {condition} then {} else {} end", column.sql, other.sql);
                return Expression { sql, ty: column.ty, secret: secret || depends };
            }
            _ => return column,
        };
        // What stands alone in what is made of both.
        let secret = if sql.starts_with("upper") { column.secret } else { secret };
        Expression { sql, ty: column.ty, secret }
    }

    fn aggregate(&mut self, value: Expression) -> Expression {
        let function = *self.numbers.one(&["max", "min", "count", "max"]);
        // How many values a column has is not secret; of one that is computed it may be, in a sub-select, too.
        let is_column = !value.sql.contains([' ', '(']);
        if function == "count" && (value.ty != Type::Int || (value.secret && is_column)) {
            return Expression { sql: format!("max({})", value.sql), ..value };
        }
        Expression { sql: format!("{function}({})", value.sql), ..value }
    }
}
