use super::{resolve::resolve, wanted::*, *};
use postern_mask::{
    Mask, Type,
    rules::{ColumnRule, Compare},
};
use postern_policy::objects::Describe;
use postern_sql::{
    catalog::{Builder, Query},
    facts::Name,
};
use std::collections::BTreeSet;

/// `(number, name, type, modifier)`
type Columns<'a> = &'a [(i16, &'a str, u32, i32)];

/// `(oid, schema, name, kind, parents, columns)`
type Table<'a> = (u32, &'a str, &'a str, &'a str, &'a [u32], Columns<'a>);

fn catalog(tables: &[Table<'_>]) -> Catalog {
    let mut builder = Builder::new(None);
    let mut row = |query: Query, row: &[&str]| {
        let row: Vec<_> = row.iter().map(|value| Some(*value).filter(|value| *value != "NULL")).collect();
        builder.row(query, &row).unwrap();
    };
    row(Query::Schemas, &["2200", "public"]);
    for (oid, name, kind, of) in [
        ("16", "bool", "b", "0"),
        ("23", "int4", "b", "0"),
        ("25", "text", "b", "0"),
        ("1043", "varchar", "b", "0"),
        ("1082", "date", "b", "0"),
        ("20001", "mood", "e", "0"),
        ("20003", "citext", "b", "0"),
    ] {
        row(Query::Types, &[oid, "public", name, kind, of, "false", "0", "-1"]);
    }
    row(Query::Types, &["20002", "public", "short", "d", "1043", "false", "0", "14"]);
    row(Query::Types, &["20004", "public", "_citext", "b", "20003", "true", "0", "-1"]);
    for (oid, schema, name, kind, parents, columns) in tables {
        let oid = oid.to_string();
        let parents = parents.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let parents = if parents.is_empty() { "NULL".to_owned() } else { format!("{{{parents}}}") };
        let persistence = if schema.starts_with("pg_temp") { "t" } else { "p" };
        let relation = [&oid, *schema, *name, *kind, persistence, "o", "false", "0", "NULL", "NULL", &parents];
        row(Query::Relations, &relation);
        for (number, name, ty, modifier) in *columns {
            let (number, ty, modifier) = (number.to_string(), ty.to_string(), modifier.to_string());
            row(Query::Columns, &[&oid, &number, *name, &ty, "NULL", "", "false", &modifier]);
        }
    }
    builder.build()
}

fn wanted(tags: &[(&str, &str)], masks: &[(&str, Mask, Option<Compare>)]) -> Wanted {
    let place = |place: &str| {
        let mut parts = place.splitn(3, '.');
        let mut next = || parts.next().unwrap_or_default().into();
        Place { schema: next(), relation: next(), column: next() }
    };
    Wanted {
        tags: tags.iter().map(|(at, tag)| (place(at), Arc::from(*tag))).collect(),
        masks: masks
            .iter()
            .map(|(tag, mask, compare)| (Arc::from(*tag), Masking { mask: *mask, compare: *compare }))
            .collect(),
        ..Wanted::default()
    }
}

fn name(schema: &str, name: &str) -> Name {
    Name { schema: schema.into(), name: name.into() }
}

/// The masked columns as `schema.table.column`, and those that were lost with a `?`.
fn masked(found: &Masked) -> Vec<String> {
    let mut all = Vec::new();
    for (Name { schema, name }, table) in &found.rules.tables {
        all.extend(table.columns.keys().map(|column| format!("{schema}.{name}.{column}")));
        all.extend(table.lost.keys().map(|column| format!("{schema}.{name}.{column}?")));
    }
    all
}

const TEXT: Columns<'_> = &[(1, "id", 23, -1), (2, "email", 25, -1)];

fn email() -> Wanted {
    wanted(&[("public.customers.email", "pii.email")], &[("pii.email", Mask::Email, None)])
}

#[test]
fn a_tag_is_found_by_name_and_stays_with_the_column() {
    let nothing = Objects::default();
    let before = catalog(&[(20_100, "public", "customers", "r", &[], TEXT)]);
    let (found, spots) = resolve(&email(), &nothing, &before, &Default::default());
    assert_eq!(masked(&found), ["public.customers.email"]);
    assert_eq!(
        found.rules.tables[&name("public", "customers")].columns["email"],
        ColumnRule {
            tags: BTreeSet::from(["pii.email".into()]),
            mask: Mask::Email,
            compare: Compare::Equality,
            ty: Type::text(),
        }
    );
    // The column is renamed: it is known which one it was.
    let renamed = catalog(&[(20_100, "public", "customers", "r", &[], &[(1, "id", 23, -1), (2, "mail", 25, -1)])]);
    let (found, _) = resolve(&email(), &nothing, &renamed, &spots);
    assert_eq!(masked(&found), ["public.customers.mail"]);
    let tags = found.objects.column(&name("public", "customers"), Some("mail"));
    assert!(tags.iter().map(AsRef::as_ref).eq(["pii.email"]), "policies see it, too");
    // So are its table and its schema, and another one comes in its place.
    let moved = catalog(&[
        (20_100, "old", "people", "r", &[], TEXT),
        (20_200, "public", "customers", "r", &[], &[(5, "email", 25, -1)]),
    ]);
    let (found, both) = resolve(&email(), &nothing, &moved, &spots);
    assert_eq!(masked(&found), ["old.people.email", "public.customers.email"]);
    assert_eq!(both["public.customers.email"].len(), 2);
}

#[test]
fn a_tag_of_a_column_that_is_missing_closes_its_table() {
    let nothing = Objects::default();
    let without = catalog(&[(20_100, "public", "customers", "r", &[], &[(1, "id", 23, -1), (3, "mail", 25, -1)])]);
    // Nobody has seen which one it was; or it was dropped.
    for before in [Default::default(), [("public.customers.email".to_owned(), BTreeSet::from([(20_100, 2)]))].into()] {
        let (found, _) = resolve(&email(), &nothing, &without, &before);
        assert_eq!(masked(&found), ["public.customers.email?"]);
    }
    // A tag without a mask closes nothing, nor does one of a table that is not there.
    let unmasked = wanted(&[("public.customers.email", "internal")], &[]);
    assert!(resolve(&unmasked, &nothing, &without, &Default::default()).0.rules.is_empty());
    let (found, spots) = resolve(&email(), &nothing, &catalog(&[]), &Default::default());
    assert!(found.rules.is_empty());
    // It holds once the column is there.
    let later = catalog(&[(20_300, "public", "customers", "r", &[], TEXT)]);
    assert_eq!(masked(&resolve(&email(), &nothing, &later, &spots).0), ["public.customers.email"]);
}

#[test]
fn partitions_and_parents_have_the_tag_too() {
    let tables: [Table<'_>; 5] = [
        (20_100, "public", "people", "p", &[], TEXT),
        (20_101, "public", "people_1", "p", &[20_100], &[(1, "email", 25, -1), (2, "id", 23, -1)]),
        (20_102, "public", "people_1_1", "r", &[20_101], TEXT),
        (20_103, "public", "people_2", "r", &[20_100], TEXT),
        (20_104, "pg_temp_3", "mine", "r", &[20_103], TEXT),
    ];
    let catalog = catalog(&tables);
    let tagged = |place: &str| {
        let wanted = wanted(&[(place, "pii")], &[("pii", Mask::Null, None)]);
        masked(&resolve(&wanted, &Objects::default(), &catalog, &Default::default()).0)
    };
    assert_eq!(
        tagged("public.people.email"),
        [
            "pg_temp.mine.email",
            "pg_temp_3.mine.email",
            "public.people.email",
            "public.people_1.email",
            "public.people_1_1.email",
            "public.people_2.email",
        ]
    );
    assert_eq!(
        tagged("public.people_1.email"),
        ["public.people.email", "public.people_1.email", "public.people_1_1.email"]
    );
    // A table's tag is that of all its columns, a schema's that of all its tables'.
    assert_eq!(tagged("pg_temp_3.mine").len(), 8);
    assert_eq!(tagged("pg_temp_3").len(), 8);
}

#[test]
fn the_strictest_holds_and_what_does_not_suit_is_redacted() {
    let columns: Columns<'_> = &[
        (1, "born", 1082, -1),
        (2, "mood", 20_001, -1),
        (3, "code", 20_002, -1),
        (4, "mail", 20_003, -1),
        (5, "mails", 20_004, -1),
        (6, "age", 23, -1),
    ];
    let catalog = catalog(&[(20_100, "public", "t", "r", &[], columns)]);
    let wanted = wanted(
        &[
            ("public.t.born", "born"),
            ("public.t.mood", "mood"),
            ("public.t.code", "code"),
            ("public.t.mail", "mail"),
            ("public.t.mails", "mail"),
            ("public.t.age", "mail"),
            ("public.t.age", "code"),
        ],
        &[
            ("born", Mask::DateYear, None),
            ("mood", Mask::Null, Some(Compare::Equality)),
            ("code", Mask::Partial { keep: 2 }, Some(Compare::Any)),
            ("mail", Mask::Email, None),
        ],
    );
    let (found, _) = resolve(&wanted, &Objects::default(), &catalog, &Default::default());
    let columns = &found.rules.tables[&name("public", "t")].columns;
    let of = |column: &str| (columns[column].mask, columns[column].compare);
    assert_eq!(of("born"), (Mask::DateYear, Compare::None), "of a date nothing may be asked");
    assert_eq!(of("mood"), (Mask::Null, Compare::Equality), "unless it is said");
    assert_eq!(of("code"), (Mask::Partial { keep: 2 }, Compare::Any));
    assert_eq!(columns["code"].ty, Type::of(1043, 14), "a domain's length");
    assert_eq!((of("mail"), &columns["mail"].ty), ((Mask::Email, Compare::Equality), &Type::text()));
    assert_eq!(columns["mails"].ty, Type::text().into_array());
    assert_eq!(of("age"), (Mask::Redact, Compare::Equality));
    assert_eq!(columns["age"].tags.len(), 2);
    let told: Vec<_> = found.unsuited.iter().map(|unsuited| (unsuited.column.to_string(), &*unsuited.tag)).collect();
    assert_eq!(told, [("public.t.age".to_owned(), "code"), ("public.t.age".to_owned(), "mail")]);
    assert!(found.unsuited[0].why.contains("partial"), "{}", found.unsuited[0].why);
}

#[test]
fn it_is_found_once_for_each_catalog_and_outlives_the_process() {
    let folder = tempfile::TempDir::new().unwrap();
    let rules = |counter| {
        let facts = crate::rules::Facts { masks: Some(email()), ..Default::default() };
        let bare = crate::rules::Facts::default();
        Rules {
            counter,
            version: 1,
            policies: Arc::new(postern_policy::Policies::from_sources(&[]).unwrap()),
            connections: [("demo".to_owned(), Arc::new(facts)), ("bare".to_owned(), Arc::new(bare))].into(),
        }
    };
    let before = catalog(&[(20_100, "public", "customers", "r", &[], TEXT)]);
    let renamed = catalog(&[(20_100, "public", "customers", "r", &[], &[(2, "mail", 25, -1)])]);
    let known = Known::open(folder.path()).unwrap();
    assert!(known.masked("bare", &rules(1), &before, false).is_none());
    // What a session may yet roll back is not kept in mind.
    let _ = known.masked("demo", &rules(1), &before, true).unwrap();
    let unseen = Known::open(folder.path()).unwrap().masked("demo", &rules(1), &renamed, false).unwrap();
    assert_eq!(masked(&unseen), ["public.customers.email?"]);
    let one = known.masked("demo", &rules(2), &before, false).unwrap();
    assert!(Arc::ptr_eq(&one, &known.masked("demo", &rules(2), &before, false).unwrap()));
    assert!(!Arc::ptr_eq(&one, &known.masked("demo", &rules(3), &before, false).unwrap()));
    let again = Known::open(folder.path()).unwrap().masked("demo", &rules(3), &renamed, false).unwrap();
    assert_eq!(masked(&again), ["public.customers.mail"]);
}
