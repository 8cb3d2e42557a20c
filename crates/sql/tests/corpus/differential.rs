//! Lineage holds against a server: where a column's values are others, no column of a result is other that has not said that
//! it comes from it, and no row comes or goes where the statement has not said that it uses it.

use std::fmt::Write as _;

use postern_sql::{
    Catalog, Context, analyse,
    facts::{Place, Statement},
};

use crate::common::{Cluster, on_deep_stack};

/// How many queries are put together.
const QUERIES: usize = 400;

/// The tables that queries are about: `l` and `r`, alike.
const TABLES: &str = "CREATE SCHEMA twin; SET search_path = twin; \
    CREATE TABLE l (id int, k int, s text, n int, b bool); CREATE TABLE r (id int, k int, s text, n int, b bool); \
    CREATE VIEW v AS SELECT id, upper(s) AS s, n, k, b FROM l WHERE n > 1; \
    INSERT INTO l SELECT i, i % 3, 's' || i % 4, i % 5, i % 2 = 0 FROM generate_series(1, 9) i; \
    INSERT INTO r SELECT i, i % 4, 's' || i % 3, i % 6, i % 3 = 0 FROM generate_series(1, 7) i; ";

/// What makes all values of a column others.
const CHANGES: &[(&str, &str, &str)] = &[
    ("l", "k", "k + 1"),
    ("l", "s", "s || 'x'"),
    ("l", "n", "n * 2 + 1"),
    ("l", "b", "NOT b"),
    ("r", "k", "k + 2"),
    ("r", "s", "reverse(s) || 'y'"),
    ("r", "n", "7 - n"),
    ("r", "b", "NOT b"),
];

/// A generator of numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn item(&mut self) -> String {
        self.pick(&["l", "r", "v"]).to_owned()
    }

    /// A number over the columns of what is called by these names.
    fn number(&mut self, of: &[&str], depth: usize) -> String {
        let at = self.pick(of);
        let kinds = if depth == 0 { 3 } else { 9 };
        match self.roll(kinds) {
            0 => format!("{at}.k"),
            1 => format!("{at}.n"),
            2 => format!("{at}.id"),
            3 => format!("length({})", self.text(of, depth - 1)),
            4 => format!("({} + {})", self.number(of, depth - 1), self.number(of, depth - 1)),
            5 => format!("coalesce({}, 0)", self.number(of, depth - 1)),
            6 => format!("CASE WHEN {} THEN {} ELSE 3 END", self.test(of, depth - 1), self.number(of, depth - 1)),
            7 => format!("(SELECT max(z.n) FROM {} z WHERE z.k = {at}.k)", self.item()),
            _ => format!(
                "(SELECT count({}) FROM {} z WHERE {})",
                self.pick(&["*", "z.s", "DISTINCT z.n"]),
                self.item(),
                self.test(&["z", at], depth - 1)
            ),
        }
    }

    fn text(&mut self, of: &[&str], depth: usize) -> String {
        let at = self.pick(of);
        let kinds = if depth == 0 { 1 } else { 6 };
        match self.roll(kinds) {
            0 => format!("{at}.s"),
            1 => format!("upper({})", self.text(of, depth - 1)),
            2 => format!("({} || {})", self.text(of, depth - 1), self.text(of, depth - 1)),
            3 => format!("({})::text", self.number(of, depth - 1)),
            4 => format!("to_jsonb({at})::text"),
            _ => format!("nullif({}, 's1')", self.text(of, depth - 1)),
        }
    }

    fn test(&mut self, of: &[&str], depth: usize) -> String {
        let at = self.pick(of);
        let kinds = if depth == 0 { 3 } else { 9 };
        match self.roll(kinds) {
            0 => format!("{at}.b"),
            1 => format!("{at}.k = 1"),
            2 => format!("{at}.s <> 's2'"),
            3 => format!("{} < {}", self.number(of, depth - 1), self.number(of, depth - 1)),
            4 => format!("({} AND {})", self.test(of, depth - 1), self.test(of, depth - 1)),
            5 => format!("NOT ({} OR {})", self.test(of, depth - 1), self.test(of, depth - 1)),
            6 => format!("EXISTS (SELECT z.s FROM {} z WHERE {})", self.item(), self.test(&["z", at], depth - 1)),
            7 => format!("{at}.k IN (SELECT z.n FROM {} z)", self.item()),
            _ => format!("{} IS NULL", self.text(of, depth - 1)),
        }
    }

    /// A query with the columns `a`, `t` and `q`, whose rows have an order of their own.
    fn query(&mut self, depth: usize) -> String {
        let (one, other) = (self.item(), self.item());
        let part = |dice: &mut Self, of: &[&str]| {
            format!("{} AS a, {} AS t, {} AS q", dice.number(of, 2), dice.text(of, 2), dice.test(of, 2))
        };
        match self.roll(if depth == 0 { 3 } else { 9 }) {
            0 => format!("SELECT {} FROM {one} x WHERE {}", part(self, &["x"]), self.test(&["x"], 2)),
            1 => {
                let kind = self.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
                format!("SELECT {} FROM {one} x {kind} {other} y ON x.k = y.n", part(self, &["x", "y"]))
            }
            2 => format!("SELECT id AS a, x.s AS t, y.b AS q FROM {one} x JOIN {other} y USING (id)"),
            3 => format!(
                "SELECT x.k AS a, string_agg(x.s, ',' ORDER BY x.n, x.id) AS t, bool_or(x.b) FILTER (WHERE {}) AS q FROM {one} x GROUP BY x.k",
                self.test(&["x"], 1)
            ),
            4 => format!(
                "SELECT sum(x.n) OVER (PARTITION BY x.b ORDER BY x.id) AS a, first_value(x.s) OVER w AS t, x.b AS q FROM {one} x WINDOW w AS (ORDER BY x.k, x.id)"
            ),
            5 => {
                let with = self.pick(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
                format!("({}) {with} ({})", self.query(depth - 1), self.query(depth - 1))
            }
            6 => format!(
                "WITH c AS ({}) SELECT x.a, x.t || y.t AS t, y.q FROM c x JOIN c y ON x.a = y.a",
                self.query(depth - 1)
            ),
            7 => format!(
                "SELECT s.a, u.t, u.q FROM ({}) s, LATERAL (SELECT z.s AS t, z.b AS q FROM {one} z WHERE z.k = s.a) u",
                self.query(depth - 1)
            ),
            _ => format!("SELECT DISTINCT s.a, s.t, s.q FROM ({}) s", self.query(depth - 1)),
        }
    }
}

/// Which columns of a result may be other where this column's values are, and whether rows may be.
fn may_differ(statement: &Statement, table: &str, column: &str) -> (Vec<bool>, bool) {
    let is = |relation: &str, of: Option<&str>| relation == table && of.is_none_or(|of| of == column);
    let of = statement
        .output
        .columns
        .iter()
        .map(|output| output.origins.iter().any(|origin| is(&origin.relation.name, origin.column.as_deref())));
    let quiet = [Place::Output, Place::Derived, Place::Argument];
    let used = statement.columns.iter().filter(|used| !quiet.contains(&used.place));
    let mut used = used.filter(|used| is(&used.relation.name, used.column.as_deref()));
    (of.collect(), used.next().is_some())
}

pub fn check(cluster: &Cluster) {
    cluster.psql(TABLES, &["-v", "ON_ERROR_STOP=1"]);
    let catalog: Catalog = cluster.catalog(None);
    let context = Context { search_path: vec!["twin".into()], ..cluster.context() };
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let texts: Vec<String> = (0..QUERIES).map(|_| dice.query(2)).collect();
    let known: Vec<(String, Statement)> = on_deep_stack(|| {
        let one = |text: &String| (text.clone(), analyse(text, &catalog, &context).unwrap().statements.remove(0));
        texts.iter().map(one).collect()
    });
    let mut script = String::from("SET search_path = twin;\nSET statement_timeout = '5s';\n");
    for (number, (text, _)) in known.iter().enumerate() {
        // What a column has is compared apart from its neighbours, in whichever order the rows come.
        let ask = |state: usize| {
            format!(
                "SELECT '#{number}|{state}', count(*), md5(string_agg(coalesce(a::text, '-'), ',' ORDER BY a::text)), \
                 md5(string_agg(coalesce(t, '-'), ',' ORDER BY t)), md5(string_agg(coalesce(q::text, '-'), ',' ORDER BY q::text)) FROM ({text}) d;\n"
            )
        };
        script.push_str(&ask(0));
        for (state, (table, column, change)) in CHANGES.iter().enumerate() {
            write!(script, "BEGIN; UPDATE {table} SET {column} = {change};\n{}ROLLBACK;\n", ask(state + 1)).unwrap();
        }
    }
    let (out, _) = cluster.psql(&script, &["-t", "-A"]);
    let (mut first, mut wrong, mut compared, mut differing): (Vec<String>, Vec<String>, usize, usize) =
        Default::default();
    for line in out.lines().filter(|line| line.starts_with('#')) {
        let fields: Vec<&str> = line.trim_start_matches('#').split('|').collect();
        let (number, state): (usize, usize) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
        let values: Vec<String> = fields[2..].iter().map(|field| (*field).to_owned()).collect();
        if state == 0 {
            first = values;
            continue;
        }
        let (text, statement) = &known[number];
        let (table, column, _) = CHANGES[state - 1];
        let (columns, rows) = may_differ(statement, table, column);
        compared += 1;
        differing += usize::from(values != first);
        // Which rows a view shows its owner has decided.
        let of_view = (table, column) == ("l", "n") && text.contains(" v ");
        if rows || of_view {
            continue;
        }
        let differs = |at: usize| values[at] != first[at];
        if differs(0) || (0..3).any(|at| differs(at + 1) && !columns[at]) {
            wrong.push(format!("{table}.{column} is not told of {text}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > QUERIES * 6 && differing > QUERIES, "only {differing} of {compared} differ");
}
