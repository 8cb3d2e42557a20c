//! Statements and subjects for tests.
#![allow(dead_code, reason = "each test uses some of it")]

use postern_policy::{
    Connection, Grant, Moment, Policies, Principal, PrincipalKind, Subject,
    objects::{Kind, Objects},
    subject::Tags,
};
use postern_sql::facts::{
    Access, Action, ColumnUse, Function, Manner, Name, Object, Place, Setting, Standing, Statement, Transaction,
    Volatility,
};
use postern_types::time::Micros;
use std::{collections::BTreeMap, sync::Arc};

/// Wednesday, 2026-11-25 12:00 UTC.
pub const WEDNESDAY_NOON: i64 = 1_795_608_000_000_000;

pub fn name(text: &str) -> Name {
    let (schema, name) = text.split_once('.').unwrap();
    Name { schema: schema.into(), name: name.into() }
}

pub fn tags(of: &[&str]) -> Tags {
    of.iter().map(|tag| Arc::from(*tag)).collect()
}

pub fn relation(action: Action, of: &str) -> Access {
    Access { action, object: Object::Relation(name(of)), manner: Manner::Plain }
}

pub fn statement(tag: &'static str, accesses: impl Into<Vec<Access>>) -> Statement {
    Statement { accesses: accesses.into(), ..Statement::nothing(tag) }
}

pub fn unfiltered(mut statement: Statement) -> Statement {
    statement.bound.filtered = false;
    statement
}

pub fn function(of: &str, standing: Standing) -> Function {
    Function { name: name(of), volatility: Volatility::Volatile, standing }
}

pub fn column(of: &str, column: Option<&str>) -> ColumnUse {
    ColumnUse { relation: name(of), column: column.map(Arc::from), place: Place::Output }
}

pub fn setting(name: Option<&str>) -> Setting {
    Setting { name: name.map(str::to_owned), value: None, local: false }
}

pub fn with(change: impl FnOnce(&mut Statement), mut statement: Statement) -> Statement {
    change(&mut statement);
    statement
}

pub fn begin() -> Statement {
    with(|s| s.transaction = Some(Transaction::Begin { read_only: None }), statement("BEGIN", []))
}

pub fn subject(principal: &str, groups: &[&str], role: &str) -> Subject {
    let (kind, who) = principal.split_once(':').unwrap();
    let kind = if kind == "user" { PrincipalKind::User } else { PrincipalKind::Agent };
    Subject {
        principal: Principal { kind, name: who.into(), groups: tags(groups) },
        connection: Connection { name: "demo".into(), tags: Tags::new(), freeze: false },
        grant: Grant {
            id: "gr_1".to_owned(),
            role: role.to_owned(),
            read_only: role == "read",
            reason: "TICKET-1: look".to_owned(),
            ..Grant::default()
        },
    }
}

pub fn at(micros: i64) -> Moment {
    Moment { now: Micros(micros), offset: 0, client: "10.1.2.3".parse().unwrap() }
}

pub fn noon() -> Moment {
    at(WEDNESDAY_NOON)
}

pub fn objects() -> Objects {
    Objects {
        relations: BTreeMap::from([
            (name("public.orders"), (Kind::Table, Arc::new(tags(&["open"])))),
            (name("public.customers"), (Kind::Table, Arc::default())),
            (name("shop.items"), (Kind::View, Arc::default())),
        ]),
        functions: BTreeMap::from([(name("public.f"), Arc::new(tags(&["listed"])))]),
        schemas: BTreeMap::from([("shop".into(), Arc::new(tags(&["open"])))]),
        columns: BTreeMap::from([(
            name("public.customers"),
            BTreeMap::from([
                ("email".into(), Arc::new(tags(&["pii.email"]))),
                ("card".into(), Arc::new(tags(&["pci.pan"]))),
            ]),
        )]),
    }
}

pub fn load(text: &str) -> Policies {
    Policies::load(&[("test.cedar", text)]).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}
