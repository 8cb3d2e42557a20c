//! Turns records into events, joining what belongs together across segments.

use super::{Ids, Search};
use crate::store::audit::SegmentRow;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::{
    audit::{AuditEvent, Bind, BindFormat, Binds, EventType, MaskedColumn, Masking, ShownColumn},
    identity::{PrincipalKind, PrincipalRef},
};
use postern_policy::{Basis, Moment};
use postern_proto::v1::{
    self, AuditRecord, BoundValue, ControlEvent, Decision, Outcome, OwnQuery, OwnWork, Purpose, SessionEnded,
    SessionFacts, StatementBound, StatementDecided, StatementEnded, StatementKind, StatementText, audit_record::Record,
};
use postern_types::time::Micros;
use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
};

type Key = (String, u64);

/// The events found so far.
pub(super) struct Fold {
    pub(super) search: Search,
    events: Vec<AuditEvent>,
    /// Values that statements are run with, of which the decision was not seen yet.
    bound: HashMap<Key, StatementBound>,
    /// Statements that match so far and have no end yet.
    open: HashMap<Key, AuditEvent>,
    /// Ends of which the decision was not seen yet: it lies in an older segment.
    ends: HashMap<Key, StatementEnded>,
    /// Events that are stored once and told in several segments.
    seen: HashSet<String>,
    /// What decisions rest on, of all statements that were found.
    facts_bytes: usize,
}

/// What the records of one segment refer to. What a search asks of it is answered once, and not for each statement.
#[derive(Default)]
struct Definitions {
    sessions: HashMap<u32, Session>,
    texts: HashMap<u32, Text>,
    bases: HashMap<u32, Rested>,
}

struct Session {
    facts: SessionFacts,
    /// Whether its statements are looked for, as far as it decides that.
    is_wanted: bool,
}

struct Text {
    sql: StatementText,
    /// Whether it holds the text that is looked for.
    holds: bool,
}

/// What decisions rest on: read at most once, and only where somebody wants to know.
struct Rested {
    json: Vec<u8>,
    read: OnceCell<Option<Basis>>,
}

impl Rested {
    /// None of one that a later version wrote.
    fn basis(&self) -> Option<&Basis> {
        self.read.get_or_init(|| Basis::from_json(&self.json).ok()).as_ref()
    }
}

impl Fold {
    pub(super) fn new(search: Search) -> Self {
        Self {
            search,
            events: Vec::new(),
            bound: HashMap::new(),
            open: HashMap::new(),
            ends: HashMap::new(),
            seen: HashSet::new(),
            facts_bytes: 0,
        }
    }

    /// The texts of the statements that are kept, and what the decisions rest on of all that were found.
    pub(super) fn found_bytes(&self) -> usize {
        let kept = self.events.iter().chain(self.open.values()).filter_map(|event| event.sql.as_ref());
        self.facts_bytes + kept.map(String::len).sum::<usize>()
    }

    /// Whether no segment whose last event is at `last_at` or before can matter any more.
    pub(super) fn is_done(&self, last_at: Micros) -> bool {
        if self.events.len() + self.open.len() < self.search.limit {
            return false;
        }
        let open = self.open.values().filter(|event| self.search.ends(event));
        let mut times: Vec<_> = self.events.iter().chain(open).map(|event| event.at).collect();
        if times.len() < self.search.limit {
            return false;
        }
        let (_, oldest_wanted, _) = times.select_nth_unstable_by(self.search.limit.saturating_sub(1), |a, b| b.cmp(a));
        last_at.plus(super::DISORDER) < *oldest_wanted
    }

    /// Adds the records of a segment.
    pub(super) fn add(&mut self, row: &SegmentRow, records: Vec<AuditRecord>) {
        let definitions = self.define(&records);
        // Statements that do not match: their ends need not be kept until their decision is found.
        let mut left = HashSet::new();
        for (index, record) in records.into_iter().enumerate() {
            match record.record {
                Some(Record::Decided(decided)) => {
                    if !self.decided(&definitions, &decided) {
                        left.insert((decided.session_ref, decided.seq));
                    }
                }
                Some(Record::Ended(ended)) if left.remove(&(ended.session_ref, ended.seq)) => {}
                Some(Record::Ended(ended)) => self.ended(&definitions, ended),
                Some(Record::SessionEnded(ended)) => self.closed(&definitions, &ended),
                Some(Record::Control(event)) => self.control(format!("ctl-{}-{index}", row.id), event),
                Some(Record::OwnWork(work)) => self.own_work((row, index), work),
                Some(Record::Session(_) | Record::Text(_) | Record::Basis(_) | Record::Bound(_)) | None => {}
            }
        }
    }

    /// What records refer to, and what belongs to statements: it follows their decision, and precedes their end.
    fn define(&mut self, records: &[AuditRecord]) -> Definitions {
        let mut definitions = Definitions::default();
        for record in records.iter().filter_map(|record| record.record.as_ref()) {
            match record {
                Record::Session(facts) => {
                    self.opened(facts);
                    let (event, ids) = of_session(facts, EventType::Statement, facts.opened_at_us);
                    let is_wanted = self.search.is_whose(&event, &ids);
                    definitions.sessions.insert(facts.r#ref, Session { facts: facts.clone(), is_wanted });
                }
                Record::Text(text) => {
                    let holds = self
                        .search
                        .text
                        .as_deref()
                        .is_none_or(|wanted| String::from_utf8_lossy(&text.text).to_lowercase().contains(wanted));
                    definitions.texts.insert(text.r#ref, Text { sql: text.clone(), holds });
                }
                Record::Basis(basis) => {
                    let rested = Rested { json: basis.json.to_vec(), read: OnceCell::new() };
                    definitions.bases.insert(basis.r#ref, rested);
                }
                Record::Bound(bound) => self.bound(&definitions, bound),
                Record::Decided(_)
                | Record::Ended(_)
                | Record::SessionEnded(_)
                | Record::Control(_)
                | Record::OwnWork(_) => {}
            }
        }
        definitions
    }

    /// Takes the newer ones out, newest first, with statements that have no end yet.
    pub(super) fn take_after(&mut self, then: Micros) -> Vec<AuditEvent> {
        let mut taken: Vec<_> = self.events.extract_if(.., |event| event.at > then).collect();
        taken.extend(self.open.extract_if(|_, event| event.at > then).map(|(_, event)| event));
        for event in &taken {
            self.seen.remove(&event.id);
        }
        sort(&mut taken);
        taken
    }

    /// Those that match. Of a statement without an end in a session that is over it is not known how it ended: its
    /// connector died.
    pub(super) fn settled(&self, mut events: Vec<AuditEvent>, ended: &[String]) -> Vec<AuditEvent> {
        let ended: HashSet<_> = ended.iter().map(String::as_str).collect();
        for event in events.iter_mut().filter(|event| is_unended(event)) {
            if event.session.as_deref().is_some_and(|session| ended.contains(session)) {
                event.outcome = outcome(Outcome::Unknown);
            }
        }
        events.retain(|event| self.search.ends(event));
        events
    }

    /// Whether an event matches so far and was not seen before.
    fn is_wanted(&mut self, event: &AuditEvent, ids: &Ids) -> bool {
        self.search.begins(event, ids) && self.seen.insert(event.id.clone())
    }

    fn keep(&mut self, event: AuditEvent) {
        if self.search.ends(&event) {
            self.events.push(event);
        }
        // A search of the whole log holds no more than it will give.
        if self.events.len() > self.search.limit.saturating_mul(2) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        sort(&mut self.events);
        self.events.truncate(self.search.limit);
    }

    /// Whether it matches so far.
    fn decided(&mut self, definitions: &Definitions, decided: &StatementDecided) -> bool {
        let Some(Session { facts, is_wanted }) = definitions.sessions.get(&decided.session_ref) else {
            return false;
        };
        let key = (facts.session_id.clone(), decided.seq);
        let (end, bound) = (self.ends.remove(&key), self.bound.remove(&key));
        let sql = definitions.texts.get(&decided.text_ref);
        let rested = definitions.bases.get(&decided.basis_ref);
        // Most of a large audit goes no further.
        let may_hold = self.search.text.is_none() || sql.is_some_and(|sql| sql.holds) || !decided.reason.is_empty();
        if !is_wanted || !may_hold || !self.search.is_decision(decision(decided)) {
            return false;
        }
        let (mut event, ids) = of_session(facts, EventType::Statement, decided.at_us);
        event.id = format!("{}-{}", facts.session_id, decided.seq);
        event.seq = Some(decided.seq);
        event.kind = kind(decided.kind());
        event.decision = Some(decision(decided).to_owned());
        event.sqlstate = text(&decided.sqlstate);
        event.review_id = text(&decided.review_id);
        event.detail = text(&decided.reason).map(|reason| serde_json::json!({ "reason": reason }));
        event.sql = sql.map(|Text { sql, .. }| String::from_utf8_lossy(&sql.text).into_owned());
        if !self.search.does(rested.and_then(Rested::basis)) || !self.is_wanted(&event, &ids) {
            return false;
        }
        event.binds = bound.as_ref().map(binds);
        if let Some(rested) = rested {
            self.facts_bytes += if self.search.query.facts { rested.json.len() } else { 0 };
            rests_on(&mut event, rested, decided, facts, self.search.query.facts);
        }
        match end {
            Some(end) => {
                apply_end(&mut event, &end);
                self.keep(event);
            }
            None => {
                self.open.insert(key, event);
            }
        }
        true
    }

    fn ended(&mut self, definitions: &Definitions, ended: StatementEnded) {
        let Some(Session { facts, is_wanted: true }) = definitions.sessions.get(&ended.session_ref) else {
            return;
        };
        let key = (facts.session_id.clone(), ended.seq);
        match self.open.remove(&key) {
            Some(mut event) => {
                apply_end(&mut event, &ended);
                self.keep(event);
            }
            None => {
                self.ends.insert(key, ended);
            }
        }
    }

    fn bound(&mut self, definitions: &Definitions, bound: &StatementBound) {
        let Some(Session { facts, is_wanted: true }) = definitions.sessions.get(&bound.session_ref) else {
            return;
        };
        let key = (facts.session_id.clone(), bound.seq);
        match self.open.get_mut(&key) {
            Some(event) => event.binds = Some(binds(bound)),
            None => {
                self.bound.insert(key, bound.clone());
            }
        }
    }

    fn opened(&mut self, facts: &SessionFacts) {
        let (mut event, ids) = of_session(facts, EventType::Session, facts.opened_at_us);
        event.id = format!("{}-opened", facts.session_id);
        event.action = Some("session.opened".to_owned());
        event.detail = Some(serde_json::json!({
            "gateway": facts.gateway_id, "connector": facts.connector_id, "backend_pid": facts.backend_pid,
            "auth_method": facts.auth_method,
        }));
        if self.is_wanted(&event, &ids) {
            self.keep(event);
        }
    }

    fn closed(&mut self, definitions: &Definitions, ended: &SessionEnded) {
        let Some(Session { facts, .. }) = definitions.sessions.get(&ended.session_ref) else {
            return;
        };
        let (mut event, ids) = of_session(facts, EventType::Session, ended.at_us);
        event.id = format!("{}-ended", facts.session_id);
        event.action = Some("session.ended".to_owned());
        event.detail = Some(serde_json::json!({ "reason": ended.reason, "statements": ended.statements }));
        event.asked = asked(ended.asked());
        if self.is_wanted(&event, &ids) {
            self.keep(event);
        }
    }

    fn control(&mut self, id: String, control: ControlEvent) {
        let actor = control.actor.as_ref().and_then(principal);
        let ids = Ids { principal: actor.as_ref().map(|actor| actor.id.to_string()), on_behalf_of: None };
        let detail: Option<serde_json::Value> = serde_json::from_str(&control.detail).ok();
        let fact = |name: &str| detail.as_ref()?.get(name)?.as_str().map(str::to_owned);
        let event = AuditEvent {
            id,
            principal: actor.as_ref().map(|actor| actor.name.clone()),
            principal_kind: actor.as_ref().map(|actor| actor.kind),
            connection: fact("connection"),
            role: fact("role"),
            grant: control.subject.starts_with("grt_").then(|| control.subject.clone()),
            session: control.subject.starts_with("ses_").then(|| control.subject.clone()),
            action: Some(control.action),
            actor,
            subject: Some(control.subject),
            detail,
            ..empty(EventType::Control, control.at_us)
        };
        if self.is_wanted(&event, &ids) {
            self.keep(event);
        }
    }

    fn own_work(&mut self, (row, index): (&SegmentRow, usize), work: OwnWork) {
        let event = AuditEvent {
            id: format!("own-{}-{index}", row.id),
            action: match work.purpose() {
                Purpose::Role => Some("connector.role".to_owned()),
                Purpose::Scan => Some("connector.scan".to_owned()),
                Purpose::Catalog => Some("connector.catalog".to_owned()),
                Purpose::Unspecified => None,
            },
            sql: (!work.sql.is_empty()).then(|| String::from_utf8_lossy(&work.sql).into_owned()),
            subject: Some(row.source.clone()),
            connection: Some(work.connection),
            ..empty(EventType::Connector, work.at_us)
        };
        if self.is_wanted(&event, &Ids::default()) {
            self.keep(event);
        }
    }
}

fn decision(decided: &StatementDecided) -> &'static str {
    if decided.decision() == Decision::Allow { "allow" } else { "deny" }
}

/// The newest first.
fn sort(events: &mut [AuditEvent]) {
    events.sort_by(|a, b| (b.at, b.seq, &b.id).cmp(&(a.at, a.seq, &a.id)));
}

fn is_unended(event: &AuditEvent) -> bool {
    event.r#type == EventType::Statement && event.outcome.is_none()
}

/// The sessions of statements that have no end.
pub(super) fn unended(events: &[AuditEvent]) -> Vec<&str> {
    let sessions = events.iter().filter(|event| is_unended(event)).filter_map(|event| event.session.as_deref());
    sessions.collect::<HashSet<_>>().into_iter().collect()
}

/// What policies decided by. One that a later version wrote is left out.
fn rests_on(
    event: &mut AuditEvent,
    rested: &Rested,
    decided: &StatementDecided,
    session: &SessionFacts,
    with_facts: bool,
) {
    let Some(basis) = rested.basis() else { return };
    event.policy_version = Some(basis.version);
    event.policies = Some(basis.policies.iter().map(ToString::to_string).collect());
    if with_facts {
        let client = Moment::client(&session.client_address);
        let moment = Moment { now: Micros(decided.at_us), offset: decided.utc_offset, client };
        event.facts = Some(basis.facts(&moment).filter_map(|facts| serde_json::to_value(facts).ok()).collect());
    }
}

fn binds(bound: &StatementBound) -> Binds {
    let bind = |BoundValue { value, length, binary }: &BoundValue| Bind {
        value: value.as_ref().map(|value| match binary {
            true => BASE64.encode(value),
            false => String::from_utf8_lossy(value).into_owned(),
        }),
        format: if *binary { BindFormat::Binary } else { BindFormat::Text },
        length: (*length > 0).then_some(*length),
    };
    Binds { values: bound.values.iter().map(bind).collect(), omitted: bound.omitted }
}

fn apply_end(event: &mut AuditEvent, end: &StatementEnded) {
    event.outcome = outcome(end.outcome());
    event.rows = Some(end.rows);
    event.bytes = Some(end.bytes);
    event.duration_ms = Some(std::time::Duration::from_micros(end.duration_us).as_secs_f64() * 1000.0);
    event.masking = end.masking.as_ref().map(masking);
    event.asked = asked(end.asked());
    if !end.sqlstate.is_empty() {
        event.sqlstate = Some(end.sqlstate.clone());
    }
}

fn asked(queries: impl Iterator<Item = OwnQuery>) -> Vec<String> {
    let name = |query| match query {
        OwnQuery::Names => Some("names"),
        OwnQuery::Settings => Some("settings"),
        OwnQuery::Counts => Some("counts"),
        OwnQuery::Unspecified => None,
    };
    queries.filter_map(name).map(str::to_owned).collect()
}

fn masking(masking: &v1::Masking) -> Masking {
    let column = |column: &v1::MaskedColumn| {
        let v1::MaskedColumn { name, columns, tags, mask, values } = column.clone();
        MaskedColumn { name, columns, tags, mask, values }
    };
    let shown = |shown: &v1::ShownColumn| {
        let v1::ShownColumn { column, tags, policies } = shown.clone();
        ShownColumn { column, tags, policies }
    };
    Masking {
        columns: masking.columns.iter().map(column).collect(),
        values: masking.values,
        shown: masking.shown.iter().map(shown).collect(),
        detected: masking.detected.iter().map(|it| (it.detector.clone(), it.found)).collect(),
    }
}

fn of_session(facts: &SessionFacts, r#type: EventType, at_us: i64) -> (AuditEvent, Ids) {
    let user = facts.on_behalf_of.as_ref();
    let ids = Ids {
        principal: facts.principal.as_ref().map(|principal| principal.id.clone()),
        on_behalf_of: user.map(|user| user.id.clone()),
    };
    let event = AuditEvent {
        session: text(&facts.session_id),
        principal: facts.principal.as_ref().map(|principal| principal.name.clone()),
        principal_kind: facts.principal.as_ref().and_then(principal_kind),
        on_behalf_of: user.map(|user| user.name.clone()),
        grant: text(&facts.grant_id),
        connection: text(&facts.connection),
        role: text(&facts.access_role),
        database_role: text(&facts.database_role),
        client_address: text(&facts.client_address),
        application_name: text(&facts.application_name),
        ..empty(r#type, at_us)
    };
    (event, ids)
}

fn empty(r#type: EventType, at_us: i64) -> AuditEvent {
    AuditEvent {
        id: String::new(),
        at: Micros(at_us),
        r#type,
        session: None,
        seq: None,
        principal: None,
        principal_kind: None,
        on_behalf_of: None,
        grant: None,
        connection: None,
        role: None,
        database_role: None,
        client_address: None,
        application_name: None,
        sql: None,
        kind: None,
        decision: None,
        policy_version: None,
        policies: None,
        review_id: None,
        facts: None,
        binds: None,
        masking: None,
        asked: Vec::new(),
        outcome: None,
        rows: None,
        bytes: None,
        duration_ms: None,
        sqlstate: None,
        action: None,
        actor: None,
        subject: None,
        detail: None,
    }
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn principal(principal: &v1::Principal) -> Option<PrincipalRef> {
    Some(PrincipalRef {
        kind: principal_kind(principal)?,
        id: principal.id.parse().ok()?,
        name: principal.name.clone(),
    })
}

fn principal_kind(principal: &v1::Principal) -> Option<PrincipalKind> {
    match principal.kind() {
        v1::principal::Kind::User => Some(PrincipalKind::User),
        v1::principal::Kind::Agent => Some(PrincipalKind::Agent),
        v1::principal::Kind::Unspecified => None,
    }
}

fn kind(kind: StatementKind) -> Option<String> {
    let name = match kind {
        StatementKind::Unspecified => return None,
        StatementKind::Query => "query",
        StatementKind::Parse => "parse",
        StatementKind::Execute => "execute",
        StatementKind::FunctionCall => "function_call",
        StatementKind::Preview => "preview",
    };
    Some(name.to_owned())
}

fn outcome(outcome: Outcome) -> Option<String> {
    let name = match outcome {
        Outcome::Unspecified => return None,
        Outcome::Ok => "ok",
        Outcome::Error => "error",
        Outcome::Skipped => "skipped",
        Outcome::Prepared => "prepared",
        Outcome::Unknown => "unknown",
    };
    Some(name.to_owned())
}
