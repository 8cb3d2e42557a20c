//! Where the columns of results come from, what joins and which constants meet columns: the corpus of lineage.

use std::collections::BTreeSet;

use postern_sql::{
    Context,
    facts::{Constant, Meets, Origin, Output, Place, Statement},
    literals,
};

fn origin(origin: &Origin) -> String {
    format!("{}.{}", origin.relation.name, origin.column.as_deref().unwrap_or("*"))
}

/// `name<-table.column` for a column as it stands, `~table.column` for one that it derives from.
fn columns(output: &Output) -> Vec<String> {
    let column = |column: &postern_sql::facts::OutputColumn| {
        let of = |from: &Origin| {
            assert!(column.direct.is_subset(&column.origins));
            let mark = if column.direct.contains(from) { "" } else { "~" };
            format!("{mark}{}", origin(from))
        };
        let origins: Vec<String> = column.origins.iter().map(of).collect();
        if origins.is_empty() { column.name.to_string() } else { format!("{}<-{}", column.name, origins.join("+")) }
    };
    let open = output.open.then(|| "…".to_owned());
    output.columns.iter().map(column).chain(open).collect()
}

/// What there is to say of a statement's lineage, on one line.
pub fn line(sql: &str, statement: &Statement, context: &Context) -> String {
    let mut parts = vec![format!("{}: {}", statement.tag, columns(&statement.output).join(", ")).trim_end().to_owned()];
    for place in Place::ALL.into_iter().filter(|place| !matches!(place, Place::Output | Place::Derived)) {
        let used = statement.columns.iter().filter(|used| used.place == place);
        let used: Vec<String> =
            used.map(|used| origin(&Origin { relation: used.relation.clone(), column: used.column.clone() })).collect();
        if !used.is_empty() {
            parts.push(format!("{place:?} {}", used.join(" ")).to_lowercase());
        }
    }
    let joins: Vec<String> =
        statement.joins.iter().map(|(one, other)| format!("{}={}", origin(one), origin(other))).collect();
    if !joins.is_empty() {
        parts.push(format!("pairs {}", joins.join(" ")));
    }
    let found = literals(sql, context.lexing).unwrap();
    let meets: BTreeSet<String> = statement
        .meets
        .iter()
        .map(|meeting| {
            let constant = match meeting.constant {
                Constant::Literal(number) => sql[found[usize::try_from(number).unwrap()].clone()].to_owned(),
                Constant::Parameter(number) => format!("${number}"),
            };
            let how = match meeting.how {
                Meets::Compared => "=",
                Meets::Written => ">",
                Meets::Other => "?",
            };
            format!("{constant}{how}{}", origin(&meeting.column))
        })
        .collect();
    if !meets.is_empty() {
        parts.push(format!("meets {}", meets.into_iter().collect::<Vec<_>>().join(" ")));
    }
    parts.extend(statement.copy_out.as_ref().map(|copy| format!("{copy:?}")));
    parts.join("; ")
}
