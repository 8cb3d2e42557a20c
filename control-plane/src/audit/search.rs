//! Searching the audit: segments are read newest first until enough events match.
//!
//! A statement's decision and its end are two records, which may lie in two segments; they are joined by session
//! and number.

mod fold;

use super::{Event, append_control};
use crate::{
    identity::Actor,
    problem::Problem,
    rights::{Action, Resource, is_allowed},
    store::{
        Store, StoreError,
        audit::{SegmentPage, page},
        sessions,
    },
};
use fold::Fold;
use postern_api::{
    audit::{AuditEvent, AuditQuery, DEFAULT_LIMIT, EventType, EventTypes, MAX_LIMIT},
    identity::PrincipalKind,
};
use postern_audit::segment;
use postern_policy::{
    Basis,
    facts::{Asked, Resource as Touched},
};
use postern_types::time::Micros;
use std::time::{Duration, Instant};

/// Segments that are fetched at once: few, as a connector's can be megabytes.
const PAGE: u32 = 16;

/// The same of an export, which holds all that is in them.
const EXPORT_PAGE: u32 = 2;

/// The control plane's own segments that are fetched at once: each is one small event.
const CONTROL_PAGE: u32 = 500;

/// How long one search reads.
const MAX_TIME: Duration = Duration::from_secs(20);

/// Texts of statements and what their decisions rest on, in all that one search finds.
const MAX_FOUND_BYTES: usize = 64 << 20;

/// How long after `until` the end of a statement is still looked for.
const END_HORIZON: Duration = Duration::from_secs(24 * 3600);

/// How far the order of segments may differ from that of their events: connectors write events of several
/// sessions in the order in which they come to the outbox.
const DISORDER: Duration = Duration::from_secs(1);

/// A search, checked.
pub(crate) struct Search {
    query: AuditQuery,
    /// Lower case.
    text: Option<String>,
    limit: usize,
    /// Whose events only: whoever may not read the whole audit.
    only: Option<Actor>,
}

/// [`search`] for a caller of the API: that somebody searched is itself recorded, before they see anything.
///
/// # Errors
/// As [`search`].
pub async fn recorded(
    store: &Store,
    actor: &Actor,
    query: AuditQuery,
    now: Micros,
) -> Result<Vec<AuditEvent>, Problem> {
    let detail = serde_json::to_value(&query).map_err(Problem::fault)?;
    let mut tx = store.begin().await?;
    append_control(&mut tx, Event::new(now, "audit.searched", Some(&actor.principal), "audit", &detail)).await?;
    tx.commit().await?;
    search(store, actor, query).await
}

/// The newest events that match and that the caller may see, newest first.
///
/// # Errors
/// When a filter is wrong, the search takes too long or the store fails.
pub async fn search(store: &Store, actor: &Actor, query: AuditQuery) -> Result<Vec<AuditEvent>, Problem> {
    let started = Instant::now();
    let mut reading = Reading::new(Search::new(actor, query)?);
    loop {
        if started.elapsed() > MAX_TIME {
            return Err(Problem::too_large("the search takes too long")
                .hint("narrow it with `since` and `until`, or by connection"));
        }
        let done;
        (reading, done) = reading.step(store).await?;
        if reading.fold.found_bytes() > MAX_FOUND_BYTES {
            return Err(Problem::too_large("what was found is too large for one answer")
                .hint("ask for fewer with `limit`, or narrow it with `since` and `until`"));
        }
        if done {
            break;
        }
    }
    let limit = reading.fold.search.limit;
    let mut events = reading.take_after(store, Micros(i64::MIN)).await?;
    events.truncate(limit);
    Ok(events)
}

/// A search that is under way: newest first, some segments at a time.
pub(super) struct Reading {
    fold: Fold,
    /// Where it stands.
    before: (Micros, i64),
}

impl Reading {
    pub(super) fn new(search: Search) -> Self {
        Self { fold: Fold::new(search), before: (Micros(i64::MAX), i64::MAX) }
    }

    /// Reads on; whether nothing that is still to be read matters.
    pub(super) async fn step(self, store: &Store) -> Result<(Self, bool), Problem> {
        let Self { mut fold, before } = self;
        let mut tx = store.read().await?;
        let segments = page(&mut tx, &fold.search.page(before)).await?;
        drop(tx);
        let Some(last) = segments.last() else { return Ok((Self { fold, before }, true)) };
        let before = (last.last_at, last.id);
        let is_last = segments.len() < fold.search.page_size() as usize;
        let read = move || {
            for row in &segments {
                if fold.is_done(row.last_at) {
                    return Ok((fold, true));
                }
                fold.add(row, segment::decode(&row.payload).map_err(StoreError::Audit)?);
            }
            Ok::<_, StoreError>((fold, is_last))
        };
        // Unpacking takes a while: not on a thread that serves others.
        let (fold, done) = tokio::task::spawn_blocking(read).await.map_err(Problem::fault)??;
        Ok((Self { fold, before }, done))
    }

    /// The time after which nothing that is still to be read can change what was found.
    pub(super) fn settled_after(&self) -> Micros {
        let (last_at, _) = self.before;
        last_at.plus(DISORDER)
    }

    /// Takes what was found out of it that is newer, newest first.
    pub(super) async fn take_after(&mut self, store: &Store, then: Micros) -> Result<Vec<AuditEvent>, Problem> {
        let events = self.fold.take_after(then);
        let mut tx = store.read().await?;
        let ended = sessions::ended(&mut tx, &fold::unended(&events)).await?;
        Ok(self.fold.settled(events, &ended))
    }
}

impl Search {
    fn new(actor: &Actor, query: AuditQuery) -> Result<Self, Problem> {
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
        if limit == 0 || limit > MAX_LIMIT {
            return Err(Problem::invalid("limit", format!("must be from 1 to {MAX_LIMIT}")));
        }
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX), ..Self::whole(actor, query)? })
    }

    /// Of everything that matches, however much.
    pub(super) fn whole(actor: &Actor, query: AuditQuery) -> Result<Self, Problem> {
        let allowed = |field: &str, value: &Option<String>, values: &[&str]| match value {
            Some(value) if !values.contains(&value.as_str()) => {
                Err(Problem::invalid(field, format!("must be one of {}", values.join(", "))))
            }
            _ => Ok(()),
        };
        allowed("outcome", &query.outcome, &["ok", "error", "skipped", "prepared", "unknown", "running"])?;
        allowed("decision", &query.decision, &["allow", "deny"])?;
        allowed("kind", &query.kind, &["query", "parse", "execute", "function_call"])?;
        let only = (!is_allowed(actor, Action::See, &Resource::WholeAudit)).then(|| actor.clone());
        Ok(Self { text: query.text.as_deref().map(str::to_lowercase), limit: usize::MAX, query, only })
    }

    fn page_size(&self) -> u32 {
        match self.query.r#type {
            EventTypes::Control => CONTROL_PAGE,
            _ if self.limit == usize::MAX => EXPORT_PAGE,
            _ => PAGE,
        }
    }

    fn page(&self, before: (Micros, i64)) -> SegmentPage {
        let types = self.query.r#type;
        SegmentPage {
            control: matches!(types, EventTypes::Control | EventTypes::All),
            connectors: !matches!(types, EventTypes::Control),
            since: self.query.since.unwrap_or(Micros(i64::MIN)),
            until: self.query.until.map_or(Micros(i64::MAX), |until| until.plus(END_HORIZON)),
            before,
            limit: self.page_size(),
        }
    }

    /// Whether an event passes the filters that its beginning decides.
    pub(crate) fn begins(&self, event: &AuditEvent, ids: &Ids) -> bool {
        let query = &self.query;
        let type_wanted = matches!(
            (query.r#type, event.r#type),
            (EventTypes::All, _)
                | (EventTypes::Statement, EventType::Statement)
                | (EventTypes::Session, EventType::Session)
                | (EventTypes::Control, EventType::Control)
                | (EventTypes::Connector, EventType::Connector)
        );
        type_wanted
            && query.since.is_none_or(|since| event.at >= since)
            && query.until.is_none_or(|until| event.at < until)
            && self.is_whose(event, ids)
            && is_either(&query.kind, &event.kind, &None)
            && event.decision.as_deref().map_or(query.decision.is_none(), |decision| self.is_decision(decision))
            && self.does_so(event)
            && self.text.as_deref().is_none_or(|text| contains(event, text))
    }

    /// Whether that is a decision that is looked for.
    pub(crate) fn is_decision(&self, decision: &str) -> bool {
        self.query.decision.as_deref().is_none_or(|wanted| wanted == decision)
    }

    /// Whether an event is of somebody, and of a session, that is looked for, and that the caller may see.
    pub(crate) fn is_whose(&self, event: &AuditEvent, ids: &Ids) -> bool {
        let query = &self.query;
        let agent = event.principal_kind == Some(PrincipalKind::Agent);
        self.only.as_ref().is_none_or(|actor| ids.concerns(actor.principal.id.as_str()))
            && is_either(&query.principal, &event.principal, &ids.principal)
            && (query.agent.is_none() || (agent && is_either(&query.agent, &event.principal, &ids.principal)))
            && is_either(&query.on_behalf_of, &event.on_behalf_of, &ids.on_behalf_of)
            && is_either(&query.connection, &event.connection, &None)
            && is_either(&query.session, &event.session, &None)
            && is_either(&query.grant, &event.grant, &None)
    }

    /// Whether what happened is looked for; what statements do is asked by [`Self::does`].
    fn does_so(&self, event: &AuditEvent) -> bool {
        let AuditQuery { action, table, .. } = &self.query;
        event.r#type == EventType::Statement
            || (table.is_none() && action.as_deref().is_none_or(|wanted| is_action(wanted, event.action.as_deref())))
    }

    /// Whether a statement does what is looked for, by what was decided on.
    pub(crate) fn does(&self, basis: Option<&Basis>) -> bool {
        let AuditQuery { action, table, .. } = &self.query;
        if action.is_none() && table.is_none() {
            return true;
        }
        let is = |asked: &Asked| {
            action.as_deref().is_none_or(|wanted| asked.action.as_str() == wanted)
                && table.as_deref().is_none_or(|wanted| is_table(wanted, &asked.resource))
        };
        basis.is_some_and(|basis| basis.statements.iter().flat_map(|deed| &deed.accesses).any(is))
    }

    /// Whether an event passes the filters that its end decides.
    pub(crate) fn ends(&self, event: &AuditEvent) -> bool {
        let outcome = event.outcome.as_deref().unwrap_or("running");
        self.query.outcome.as_deref().is_none_or(|wanted| wanted == outcome)
            && is_either(&self.query.sqlstate, &event.sqlstate, &None)
    }
}

/// The ids behind an event's names.
#[derive(Default)]
pub(crate) struct Ids {
    pub(crate) principal: Option<String>,
    pub(crate) on_behalf_of: Option<String>,
}

impl Ids {
    fn concerns(&self, id: &str) -> bool {
        [&self.principal, &self.on_behalf_of].into_iter().any(|own| own.as_deref() == Some(id))
    }
}

fn is_either(wanted: &Option<String>, name: &Option<String>, id: &Option<String>) -> bool {
    wanted.is_none() || wanted == name || wanted == id
}

fn is_action(wanted: &str, action: Option<&str>) -> bool {
    action.is_some_and(|action| action == wanted || (wanted.ends_with('.') && action.starts_with(wanted)))
}

fn is_table(wanted: &str, resource: &Touched) -> bool {
    use Touched::{Column, Relation};
    let (Relation { schema, name, .. } | Column { schema, table: name, .. }) = resource else { return false };
    wanted.split_once('.').map_or(wanted == &**name, |(of, table)| of == &**schema && table == &**name)
}

fn contains(event: &AuditEvent, text: &str) -> bool {
    let holds = |field: &Option<String>| field.as_deref().is_some_and(|field| field.to_lowercase().contains(text));
    holds(&event.sql)
        || holds(&event.subject)
        || holds(&event.action)
        || event.detail.as_ref().is_some_and(|detail| detail.to_string().to_lowercase().contains(text))
}
