//! What is refused, each with its allowed twin; and what becomes of outputs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, too")]

use postern_mask::{
    Mask, Type,
    plan::{Permits, Plan, Probe, plan},
    refused::Refused,
    rules::{Column, ColumnRule, Compare, Rules, Table},
};
use postern_sql::facts::{
    Access, Action, ColumnUse, Constant, Function, Manner, Meeting, Meets, Name, Object, Origin, Output, OutputColumn,
    Place, Standing, Statement, Volatility,
};
use std::{collections::BTreeSet, sync::Arc};

/// A name without a schema is in `public`.
fn name(text: &str) -> Name {
    let (schema, name) = text.split_once('.').unwrap_or(("public", text));
    Name { schema: schema.into(), name: name.into() }
}

/// `customers.email`; `customers` alone is any of its columns.
fn origin(text: &str) -> Origin {
    let (relation, column) = text.split_once('.').map_or((text, None), |(relation, column)| (relation, Some(column)));
    Origin { relation: name(relation), column: column.map(Arc::from) }
}

fn column(text: &str) -> Column {
    let Origin { relation, column } = origin(text);
    Column { relation, name: column.unwrap() }
}

fn access(action: Action, relation: &str) -> Access {
    Access { action, object: Object::Relation(name(relation)), manner: Manner::Plain }
}

fn used(text: &str, place: Place) -> ColumnUse {
    let Origin { relation, column } = origin(text);
    ColumnUse { relation, column, place }
}

/// A SELECT of a table, with one use of a column.
fn using(text: &str, place: Place) -> Statement {
    let accesses = vec![access(Action::Read, text.split('.').next().unwrap())];
    Statement { accesses, columns: vec![used(text, place)], ..Statement::nothing("SELECT") }
}

fn output(origins: &[&str], direct: &[&str]) -> OutputColumn {
    let of = |texts: &[&str]| texts.iter().map(|text| origin(text)).collect();
    OutputColumn { name: "c".into(), ty: None, origins: of(origins), direct: of(direct) }
}

fn rule(tag: &str, mask: Mask, compare: Compare) -> ColumnRule {
    ColumnRule { tags: BTreeSet::from([tag.into()]), mask, compare, ty: Type::text() }
}

/// `customers`: an e-mail, numbers as hashes, a name of which anything and a birthday of which nothing may be asked;
/// `leads`: some like them; `gone`: a column that is not there.
fn rules() -> Rules {
    let mut rules = Rules::default();
    for (place, rule) in [
        ("customers.email", rule("mail", Mask::Email, Compare::Equality)),
        ("customers.phone", rule("phone", Mask::Hash, Compare::Equality)),
        ("customers.fax", rule("fax", Mask::Hash, Compare::Equality)),
        ("customers.name", rule("name", Mask::Redact, Compare::Any)),
        ("customers.born", rule("born", Mask::DateYear, Compare::None)),
        ("customers.pin", rule("pin", Mask::Hash, Compare::None)),
        ("leads.phone", rule("phone", Mask::Hash, Compare::Equality)),
        ("leads.email", rule("mail", Mask::Email, Compare::Equality)),
    ] {
        let Column { relation, name } = column(place);
        rules.tables.entry(relation).or_default().columns.insert(name, rule);
    }
    let gone = Table { lost: [("email".into(), "mail".into())].into(), ..Table::default() };
    rules.tables.insert(name("gone"), gone);
    rules.foreign.insert(name("remote"));
    rules
}

#[derive(Default)]
struct May {
    unmask: Vec<Column>,
    everything: bool,
    overwrite: bool,
    write: Vec<Name>,
}

impl Permits for May {
    fn unmask(&mut self, column: &Column) -> bool {
        self.everything || self.unmask.contains(column)
    }

    fn overwrite(&mut self, _column: &Column) -> bool {
        self.overwrite
    }

    fn write(&mut self, relation: &Name) -> bool {
        self.write.contains(relation)
    }
}

fn planned(statement: &Statement) -> Result<Plan, Refused> {
    plan(statement, &rules(), &mut May::default())
}

fn everything(statement: &Statement) -> Plan {
    let may = &mut May { everything: true, ..May::default() };
    plan(statement, &rules(), may).unwrap_or_else(|refused| panic!("{refused}"))
}

#[track_caller]
fn allowed(statement: &Statement) -> Plan {
    planned(statement).unwrap_or_else(|refused| panic!("{refused}"))
}

/// Whoever sees everything runs it.
#[track_caller]
fn refused(statement: &Statement, message: &str) -> Refused {
    let refused = planned(statement).unwrap_err();
    assert!(refused.message.contains(message), "{refused}");
    assert!(refused.message.starts_with(&format!("{} is refused: ", statement.tag)), "{refused}");
    assert!(refused.hint.ends_with('.'), "{}", refused.hint);
    let _ = everything(statement);
    refused
}

#[test]
fn places() {
    use Place::{
        Argument, Compared, Counted, Derived, Filter, Group, Inside, Join, Joined, Order, Output, Source, Window, Write,
    };
    let always = [Output, Derived, Write];
    let with = |more: &[Place]| [&always[..], more].concat();
    for place in Place::ALL {
        // A column that is not masked may stand anywhere.
        allowed(&using("customers.id", place));
        for (text, places) in [
            ("customers.born", with(&[])),
            ("customers.pin", with(&[])),
            ("customers.email", with(&[Compared, Counted])),
            ("customers.phone", with(&[Compared, Counted, Group])),
            ("customers.name", with(&[Compared, Counted, Filter, Joined, Join, Group, Order, Window])),
        ] {
            let result = planned(&using(text, place));
            assert_eq!(result.is_ok(), places.contains(&place), "{text} {place:?} {result:?}");
            if let Err(refused) = result {
                assert_eq!(refused.place, Some(place));
                assert!(refused.message.contains(&format!("public.{text} is masked (")), "{refused}");
            }
        }
        // Any column of a table is each of them.
        assert_eq!(planned(&using("customers", place)).is_ok(), always.contains(&place), "{place:?}");
    }
    for (place, message) in [
        (Filter, "a condition other than equality"),
        (Order, "an order would tell"),
        (Argument, "is given to a function, operator or cast"),
        (Inside, "a function that the statement calls reads it"),
        (Source, "stored or sent"),
    ] {
        let refused = refused(&using("customers.email", place), message);
        assert!(refused.hint.contains("ask for an access role that may unmask"), "{}", refused.hint);
    }
    refused(&using("customers.born", Compared), "nothing may be asked");
}

#[test]
fn writing_over() {
    let update = Statement { tag: "UPDATE", ..using("customers.email", Place::Overwrite) };
    let told = refused(&update, "may not be written over");
    assert!(told.hint.contains("or overwrite it"), "{}", told.hint);
    plan(&update, &rules(), &mut May { overwrite: true, ..May::default() }).unwrap();
    allowed(&Statement { tag: "UPDATE", ..using("customers.id", Place::Overwrite) });
}

#[test]
fn joins() {
    let joining = |pairs: &[(&str, &str)]| {
        let mut statement = Statement::nothing("SELECT");
        for (one, other) in pairs {
            statement.columns.extend([used(one, Place::Joined), used(other, Place::Joined)]);
            statement.joins.push((origin(one), origin(other)));
        }
        statement
    };
    allowed(&joining(&[("customers.phone", "leads.phone")]));
    allowed(&joining(&[("customers.phone", "customers.phone")]));
    allowed(&joining(&[("customers.name", "leads.name"), ("customers.id", "leads.id")]));
    for pairs in [
        &[("customers.phone", "customers.fax")][..],
        &[("customers.phone", "leads.note")],
        &[("customers.phone", "leads.phone"), ("customers.phone", "leads.note")],
        &[("customers.email", "leads.email")],
        &[("customers.pin", "customers.pin")],
        &[("customers.phone", "leads")],
    ] {
        refused(&joining(pairs), "is masked (");
    }
    // Of one that is seen the values of the other would be known.
    let sees = &mut May { unmask: vec![column("leads.phone")], ..May::default() };
    assert!(plan(&joining(&[("customers.phone", "leads.phone")]), &rules(), sees).is_err());
}

fn selecting(columns: &[OutputColumn]) -> Statement {
    Statement {
        accesses: vec![access(Action::Read, "customers")],
        output: Output { columns: columns.to_vec(), open: false },
        ..Statement::nothing("SELECT")
    }
}

fn direct(text: &str) -> OutputColumn {
    output(&[text], &[text])
}

#[test]
fn outputs() {
    let masks = |columns: &[OutputColumn]| -> Vec<Option<Option<Mask>>> {
        let plan = allowed(&selecting(columns));
        plan.columns.into_iter().map(|column| column.map(|column| column.mask)).collect()
    };
    assert!(masks(&[direct("customers.id")]).is_empty());
    assert_eq!(masks(&[direct("customers.id"), direct("customers.email")]), [None, Some(Some(Mask::Email))]);
    // Of a view both columns are named, and the view has no rule.
    let through = ["v.mail", "customers.email"];
    assert_eq!(masks(&[output(&through, &through)]), [Some(Some(Mask::Email))]);
    let both = ["customers.email", "leads.email"];
    assert_eq!(masks(&[output(&both, &both)]), [Some(Some(Mask::Email))], "a set operation");
    for redacted in [
        output(&["customers.email"], &[]),
        output(&["customers.email", "customers.born"], &["customers.email"]),
        output(&["customers.email", "customers.phone"], &["customers.email", "customers.phone"]),
        output(&["customers.phone", "customers.fax"], &["customers.phone", "customers.fax"]),
        output(&["customers"], &["customers"]),
        output(&["customers"], &[]),
    ] {
        assert_eq!(masks(std::slice::from_ref(&redacted)), [Some(None)], "{redacted:?}");
    }
    let plan = allowed(&selecting(&[direct("customers.email"), output(&["customers"], &[])]));
    let (mail, whole) = (plan.columns[0].as_ref().unwrap(), plan.columns[1].as_ref().unwrap());
    assert_eq!((&mail.ty, mail.tags.len(), mail.of.len()), (&Some(Type::text()), 1, 1));
    assert_eq!((&whole.ty, whole.of.len()), (&None, 6));
    let open = |relation: &str| Statement {
        accesses: vec![access(Action::Read, relation)],
        output: Output { columns: Vec::new(), open: true },
        ..Statement::nothing("SELECT")
    };
    refused(&open("customers"), "cannot be told which columns");
    assert!(allowed(&open("orders")).is_nothing());
}

#[test]
fn hashes_are_withheld_from_whoever_may_write_them() {
    let mask = |plan: Plan| plan.columns[0].as_ref().unwrap().mask;
    let writes = |relation: &str| May { write: vec![name(relation)], ..May::default() };
    let bare = selecting(&[direct("customers.phone")]);
    let grouped = Statement { columns: vec![used("customers.phone", Place::Group)], ..bare.clone() };
    assert_eq!(mask(allowed(&grouped)), Some(Mask::Hash));
    assert_eq!(mask(plan(&grouped, &rules(), &mut writes("orders")).unwrap()), Some(Mask::Hash));
    assert!(plan(&grouped, &rules(), &mut writes("leads")).is_err(), "they have the tag, too");
    assert_eq!(mask(plan(&bare, &rules(), &mut writes("leads")).unwrap()), Some(Mask::Redact));
}

#[test]
fn who_may_see_a_column_sees_it() {
    let mut select = selecting(&[direct("customers.email"), output(&["customers.name"], &[])]);
    select.columns = vec![used("customers.email", Place::Order)];
    let sees = &mut May { unmask: vec![column("customers.email")], ..May::default() };
    let planned = plan(&select, &rules(), sees).unwrap();
    assert_eq!(planned.unmasked, BTreeSet::from([column("customers.email")]));
    assert!(planned.touches && planned.columns[0].is_none() && planned.columns[1].is_some());
    let everything = everything(&select);
    assert!(!everything.touches && everything.columns.is_empty() && !everything.is_nothing());
    assert_eq!(everything.unmasked, BTreeSet::from([column("customers.email")]), "what it uses");
}

#[test]
fn a_column_that_was_lost_closes_its_table() {
    let select = Statement { accesses: vec![access(Action::Read, "gone")], ..Statement::nothing("SELECT") };
    refused(&select, "names public.gone.email, which does not exist");
    let sees = &mut May { unmask: vec![column("gone.email")], ..May::default() };
    plan(&select, &rules(), sees).unwrap();
}

#[test]
fn plans_of_what_is_masked_are_not_explained() {
    let explain = |statement| Statement { tag: "EXPLAIN", ..statement };
    refused(&explain(using("customers.email", Place::Output)), "the estimates of a plan");
    let plan = allowed(&explain(using("customers.id", Place::Filter)));
    assert!(plan.touches && plan.columns.is_empty());
}

#[test]
fn questions_are_counted() {
    let meeting = |text: &str, constant, how| Meeting { constant, column: origin(text), how };
    let mut insert = Statement { tag: "INSERT", ..using("customers.email", Place::Write) };
    insert.columns.extend([used("customers.id", Place::Write), used("customers.phone", Place::Write)]);
    insert.meets = vec![
        meeting("customers.email", Constant::Literal(0), Meets::Written),
        meeting("customers.id", Constant::Literal(1), Meets::Written),
        meeting("customers.email", Constant::Parameter(1), Meets::Compared),
        meeting("customers.email", Constant::Parameter(2), Meets::Other),
    ];
    let probe = |text: &str, constant| Probe { column: column(text), constant };
    assert_eq!(
        allowed(&insert).probes,
        [
            probe("customers.email", Some(Constant::Literal(0))),
            probe("customers.email", Some(Constant::Parameter(1))),
            probe("customers.phone", None),
        ]
    );
}

#[test]
fn ways_around() {
    let reading =
        |relation: &str| Statement { accesses: vec![access(Action::Read, relation)], ..Statement::nothing("SELECT") };
    let calling = |function: &str, standing| Statement {
        functions: vec![Function { name: name(function), volatility: Volatility::Stable, standing }],
        ..Statement::nothing("SELECT")
    };
    let activity = |column: &str| {
        let relation = name("pg_catalog.pg_stat_activity");
        let used = ColumnUse { relation, column: Some(column.into()), place: Place::Output };
        Statement { columns: vec![used], ..reading("pg_catalog.pg_stat_activity") }
    };
    for relation in ["pg_catalog.pg_stats", "pg_catalog.pg_largeobject", "ext.pg_stat_statements", "pg_toast.t"] {
        let refused = refused(&reading(relation), relation);
        assert!(refused.hint.contains(&format!("safe_relations: [{relation}]")), "{}", refused.hint);
    }
    allowed(&reading("pg_catalog.pg_class"));
    allowed(&reading("public.pg_stats"));
    refused(&reading("remote"), "is a foreign table");
    refused(&activity("query"), "pg_stat_activity");
    allowed(&activity("state"));
    for function in ["pg_catalog.query_to_xml", "pg_catalog.lo_get", "pg_catalog.pg_read_file", "pg_catalog.ts_stat"] {
        refused(&calling(function, Standing::Effectful), function);
    }
    refused(&calling("public.mine", Standing::Unknown), "public.mine could read it");
    allowed(&calling("public.mine", Standing::Analysed));
    allowed(&calling("pg_catalog.xmlparse", Standing::Harmless));
    refused(&Statement { tag: "DO", ..calling("pg_catalog.do", Standing::Unknown) }, "a block of code");
    let listen = |channel: &str| Statement {
        effects: BTreeSet::from([format!("listens to {channel}")]),
        ..Statement::nothing("LISTEN")
    };
    refused(&listen("jobs"), "the channel jobs");
    // What an admin lists.
    let mut listed = rules();
    listed.safe.relations = [name("pg_catalog.pg_stats"), name("remote")].into();
    listed.safe.functions = [name("public.mine")].into();
    listed.safe.channels = ["jobs".to_owned()].into();
    for statement in
        [reading("pg_catalog.pg_stats"), reading("remote"), calling("public.mine", Standing::Unknown), listen("jobs")]
    {
        plan(&statement, &listed, &mut May::default()).unwrap_or_else(|refused| panic!("{refused}"));
    }
    // Where nothing is masked, nothing is closed.
    assert!(plan(&reading("pg_catalog.pg_stats"), &Rules::default(), &mut May::default()).unwrap().is_nothing());
}

#[test]
fn changes_of_the_schema() {
    let changing = |tag, object| Statement {
        accesses: vec![Access { action: Action::Ddl, object, manner: Manner::Plain }],
        ..Statement::nothing(tag)
    };
    let table = |text: &str| Object::Relation(name(text));
    for tag in ["CREATE FUNCTION", "CREATE TRIGGER", "CREATE RULE", "CREATE EXTENSION", "CREATE SUBSCRIPTION", "LOAD"] {
        refused(&changing(tag, Object::Database), "this makes code");
    }
    for tag in ["ALTER TABLE", "CREATE INDEX", "CREATE STATISTICS", "CREATE POLICY"] {
        assert!(planned(&changing(tag, table("customers"))).is_err(), "{tag}");
    }
    refused(&changing("CREATE INDEX", table("customers")), "public.customers tell about its values");
    for tag in ["ALTER TABLE", "CREATE INDEX", "CREATE TABLE", "CREATE VIEW", "DROP TABLE"] {
        allowed(&changing(tag, table("orders")));
    }
    for tag in ["ANALYZE", "VACUUM", "COMMENT", "DROP TABLE", "GRANT"] {
        allowed(&changing(tag, table("customers")));
    }
    let admin = |tag| Statement {
        accesses: vec![Access { action: Action::Admin, object: Object::Database, manner: Manner::Plain }],
        ..Statement::nothing(tag)
    };
    refused(&admin("COPY"), "files and programs of the server");
    refused(&admin("ALTER SYSTEM"), "this makes code");
    allowed(&admin("SET"));
    allowed(&admin("SELECT"));
}
