//! Which columns of a connection seem to hold personal or payment data. A connector looks, and says what it saw in names and
//! counts; [`judge`] makes proposals of that. None is applied: an admin does that, with `apply`.

mod judge;

use crate::{
    Core,
    audit::{self, Event},
    connections as ways_in,
    identity::Actor,
    problem::{Problem, shorten},
    rights::{Action, Resource, authorize},
    store::connections,
};
use postern_api::{
    document::{AccessRole, ConnectionDocument, Mask, RoleMode},
    scan::{DEFAULT_SAMPLE, Finding, MAX_SAMPLE, NotSampled, Scan, Scanned, ScannedColumn},
};
use postern_proto::v1::{self, ScannedColumns, scanned};
use postern_types::time::Micros;
use serde_json::json;
use std::collections::BTreeMap;

/// Has a connection's columns looked at, and says what might be tagged.
///
/// # Errors
/// When the caller may not, something that is named is not there, or the connector or its database cannot be asked.
pub async fn scan(core: &Core, actor: &Actor, name: &str, scan: Scan, now: Micros) -> Result<Scanned, Problem> {
    authorize(actor, Action::Create, &Resource::Scan)?;
    let place = Place::of(&scan)?;
    let sample = scan.sample.unwrap_or(DEFAULT_SAMPLE);
    if !(1..=MAX_SAMPLE).contains(&sample) {
        return Err(Problem::invalid("sample", format!("must be from 1 to {MAX_SAMPLE}")));
    }
    let mut tx = core.store.begin().await?;
    let document = connections::by_name(&mut tx, name).await?.map(|row| row.document);
    let document = document
        .ok_or_else(|| Problem::not_found("connection", name).hint("`postern connections` shows which there are"))?;
    let (role_name, role) = least(&document)?;
    // Recorded before anything is read.
    let detail = json!({
        "role": role_name, "table": scan.table, "column": scan.column, "detector": scan.detector, "sample": sample,
    });
    let subject = format!("connection/{}", document.name);
    let event = Event::new(now, "connection.scanned", Some(&actor.principal), &subject, &detail);
    audit::append_control(&mut tx, event).await?;
    tx.commit().await?;
    let question = v1::Scan {
        id: 0,
        connection: document.name.clone(),
        role_mode: ways_in::mode(role).into(),
        database_role: role.database_role.clone().unwrap_or_default(),
        settings: ways_in::settings(role),
        schema: place.schema.to_owned(),
        relation: place.table.to_owned(),
        column: place.column.to_owned(),
        detector: scan.detector.clone().unwrap_or_default(),
        sample,
    };
    let answer = core.hub.scan(&document.connector, question).await;
    let answer = answer.map_err(|why| why.told("what the columns hold", &document.connector))?;
    match answer {
        scanned::Result::Columns(columns) => told(&document, role_name, &scan, columns),
        scanned::Result::Failed(error) => Err(Problem::of_connector(&document.name, error)),
    }
}

/// What of a database is looked at; what is empty is not named.
#[derive(Default)]
struct Place<'a> {
    schema: &'a str,
    table: &'a str,
    column: &'a str,
}

impl<'a> Place<'a> {
    fn of(scan: &'a Scan) -> Result<Self, Problem> {
        let wrong = |field, form| Err(Problem::invalid(field, format!("a {field} is named as `{form}`")));
        let place = match (&scan.table, &scan.column) {
            (Some(_), Some(_)) => return Err(Problem::invalid("column", "name a table or a column, not both")),
            (None, None) => Self::default(),
            (Some(table), None) => match *table.split('.').collect::<Vec<_>>() {
                [schema, table] if !schema.is_empty() && !table.is_empty() => Self { schema, table, column: "" },
                _ => return wrong("table", "schema.table"),
            },
            (None, Some(column)) => match *column.split('.').collect::<Vec<_>>() {
                [schema, table, column] if ![schema, table, column].contains(&"") => Self { schema, table, column },
                _ => return wrong("column", "schema.table.column"),
            },
        };
        if scan.detector.is_some() && place.column.is_empty() {
            return Err(Problem::invalid("detector", "a detector is tried on a column: name one"));
        }
        Ok(place)
    }
}

/// The access role whose login can do the least: one that only reads before others, one with a login of its own before the
/// shared one.
fn least(document: &ConnectionDocument) -> Result<(&str, &AccessRole), Problem> {
    let roles = document.roles.iter().filter(|(_, role)| role.mode != RoleMode::Ephemeral);
    let least = roles.min_by_key(|(name, role)| (!role.read_only, role.mode == RoleMode::Shared, *name));
    let (name, role) = least.ok_or_else(|| {
        Problem::conflict(format!("`{}` has no access role with a login by which it could be scanned", document.name))
            .hint("give it one of mode `login` that is read-only")
    })?;
    Ok((name.as_str(), role))
}

fn told(document: &ConnectionDocument, role: &str, asked: &Scan, seen: ScannedColumns) -> Result<Scanned, Problem> {
    let named = asked.column.as_ref().map(|name| ("column", name)).or(asked.table.as_ref().map(|name| ("table", name)));
    if let (Some((what, name)), 0) = (named, seen.relations) {
        return Err(Problem::not_found(what, name).hint(format!(
            "the login \"{}\" sees none of that name in connection `{}`, or it is a view or inherits it",
            shorten(&seen.login),
            document.name
        )));
    }
    // Of one tag there is one mask, also among those that are proposed.
    let known = document.masks.iter().map(|(tag, masking)| (tag.clone(), masking.mask().clone()));
    let mut masks: BTreeMap<String, Mask> = known.collect();
    let columns = seen.columns.into_iter().map(|column| proposed(document, &mut masks, column));
    let columns = columns.filter(|column| column.tag.is_some() || asked.column.is_some()).collect();
    let not_sampled = |it: v1::NotSampled| NotSampled { table: format!("{}.{}", it.schema, it.relation), why: it.why };
    Ok(Scanned {
        connection: document.name.clone(),
        role: role.to_owned(),
        login: seen.login,
        tables: seen.relations,
        cut: seen.cut,
        columns,
        not_sampled: seen.not_sampled.into_iter().map(not_sampled).collect(),
    })
}

fn proposed(
    document: &ConnectionDocument,
    masks: &mut BTreeMap<String, Mask>,
    seen: v1::ScannedColumn,
) -> ScannedColumn {
    let judged = judge::judge(&seen);
    let name = format!("{}.{}.{}", seen.schema, seen.relation, seen.column);
    let proposal = judged.map(|(kind, _)| kind.tag(seen.class(), masks));
    if let Some((tag, mask)) = &proposal {
        masks.entry(tag.clone()).or_insert_with(|| mask.clone());
    }
    let (tag, mask) = proposal.unzip();
    let values = seen.values;
    let found = |finding: v1::Finding| Finding {
        share: share(finding.whole.saturating_add(finding.within), values),
        what: finding.what,
        by_name: finding.by_name,
        path: Some(finding.path).filter(|path| !path.is_empty()),
        whole: finding.whole,
        within: finding.within,
    };
    ScannedColumn {
        tagged: document.tags.get(&name).cloned(),
        mask_is_new: tag.as_ref().is_some_and(|tag| !document.masks.contains_key(tag)),
        column: name,
        r#type: seen.r#type,
        tag,
        mask,
        confidence: judged.map(|(_, confidence)| confidence),
        named: Some(seen.named).filter(|named| !named.is_empty()),
        values,
        found: seen.found.into_iter().map(found).collect(),
    }
}

/// To the per cent: more would be no more true of a sample.
fn share(hits: u64, of: u64) -> f64 {
    let percent = hits.saturating_mul(100).checked_div(of).unwrap_or(0).min(100);
    f64::from(u32::try_from(percent).unwrap_or(100)) / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(roles: serde_json::Value) -> ConnectionDocument {
        let document = json!({ "name": "c", "database": "postgresql://h/d", "connector": "x", "roles": roles });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn the_login_that_can_do_the_least() {
        let shared = json!({ "mode": "shared" });
        let (read, write) = (json!({ "database_role": "r", "read_only": true }), json!({ "database_role": "w" }));
        let reads = json!({ "mode": "shared", "read_only": true });
        for (roles, expect) in [
            (json!({ "a": shared, "b": write, "c": reads, "d": read }), Some("d")),
            (json!({ "a": shared, "b": write, "c": reads }), Some("c")),
            (json!({ "a": shared, "b": write }), Some("b")),
            (json!({ "a": shared }), Some("a")),
            (json!({ "e": { "mode": "ephemeral", "read_only": true } }), None),
        ] {
            let document = document(roles);
            assert_eq!(least(&document).ok().map(|(name, _)| name), expect);
        }
    }

    #[test]
    fn places() {
        let text = |text: &str| Some(text.to_owned());
        let of = |table: &str, column: &str, detector: &str| {
            let some = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            let scan = Scan { table: some(table), column: some(column), detector: some(detector), sample: None };
            Place::of(&scan).ok().map(|place| format!("{}/{}/{}", place.schema, place.table, place.column))
        };
        assert_eq!(of("", "", ""), text("//"));
        assert_eq!(of("public.a", "", ""), text("public/a/"));
        assert_eq!(of("", "public.a.b", "email"), text("public/a/b"));
        for (table, column, detector) in [
            ("a", "", ""),
            ("a.b.c", "", ""),
            ("a.", "", ""),
            ("", "a.b", ""),
            ("", "a..b", ""),
            ("a.b", "a.b.c", ""),
            ("", "", "email"),
            ("a.b", "", "email"),
        ] {
            assert_eq!(of(table, column, detector), None, "{table} {column} {detector}");
        }
    }
}
