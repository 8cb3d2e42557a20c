//! The control plane's own transitions on its stores, one for each replica. What it tells the connectors is done here as they
//! do it: a grant that has ended is remembered, and its sessions end.

use crate::{
    reference::{Action, Key, LIFETIME, Outcome, Role, Seen, Text, Who},
    statements, support,
};
use postern_api::{
    access::{CreateRequest, CredentialUse, Extend, GrantStatus, RequestKind, Verdict},
    identity::PrincipalKind,
    review::ReviewVote,
    session::SessionStatus,
};
use postern_control_plane::{
    config::StoreConfig,
    effects::Effect,
    grants,
    identity::Actor,
    problem::Problem,
    requests::{self, Answer},
    reviews, sessions as clients,
    store::{
        Store,
        sessions::{self, NewSession},
    },
};
use postern_types::{
    id::{GrantId, PrincipalId, RequestId, ReviewId, SessionId},
    time::{Micros, parse_duration},
};
use serde_json::json;
use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The seconds from one story's begin to the next one's: more than any of them lasts, so that none meets what another left.
const STORY: u64 = 300_000;

/// Who holds the sessions.
pub const CONNECTOR: &str = "con_test";
pub const INCARNATION: &str = "one";

/// What outlives a story.
pub struct Install {
    config: StoreConfig,
    replicas: RefCell<Vec<Store>>,
    people: BTreeMap<Who, Actor>,
    stories: Cell<u64>,
}

impl Install {
    pub async fn new(config: StoreConfig, replicas: usize) -> Self {
        let mut stores = Vec::new();
        for _ in 0..replicas {
            stores.push(Store::open(&config).await.unwrap());
        }
        let mut people = BTreeMap::new();
        for who in Who::ALL {
            let kind = if who.is_agent() { PrincipalKind::Agent } else { PrincipalKind::User };
            let groups: &[&str] = match who {
                Who::Agent => &["agents"],
                who if who.is_dba() => &["dba"],
                _ => &[],
            };
            let name = format!("{who:?}").to_lowercase();
            people.insert(who, support::principal(&stores[0], kind, &name, groups, who == Who::Boss).await);
        }
        let role = |approvals: u32| {
            json!({
                "mode": "login", "database_role": "shop", "groups": ["agents", "dba"], "reviewers": ["dba"],
                "approvals": approvals, "max_duration": "4h",
            })
        };
        let demo = json!({
            "kind": "Connection", "name": "demo", "database": "postgresql://127.0.0.1:5432/shop", "connector": "dev",
            "roles": { "open": role(0), "read": role(1), "write": role(2) },
        });
        support::apply_all(&stores[0], &people[&Who::Boss], &[demo], false).await.unwrap();
        Self { config, replicas: RefCell::new(stores), people, stories: Cell::new(0) }
    }

    fn replica(&self, at: usize) -> Store {
        let replicas = self.replicas.borrow();
        replicas[at % replicas.len()].clone()
    }
}

/// What is known of a story by the steps that made it.
#[derive(Default)]
struct Known {
    requests: BTreeMap<Key, RequestId>,
    grants: BTreeMap<Key, GrantId>,
    sessions: BTreeMap<Key, (SessionId, Key)>,
    reviews: BTreeMap<Key, ReviewId>,
    /// The grants that a connector was told to be over.
    over: BTreeSet<Key>,
}

pub struct Plane<'a> {
    install: &'a Install,
    began: Micros,
    known: RefCell<Known>,
}

/// Whether it was done. Whatever is not told to the caller is a fault.
fn done<T>(result: Result<T, Problem>) -> Result<Option<T>, String> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(Problem::Told(_)) => Ok(None),
        Err(Problem::Fault(cause)) => Err(format!("a fault: {cause}")),
    }
}

impl<'a> Plane<'a> {
    pub async fn new(install: &'a Install) -> Self {
        let story = install.stories.get();
        install.stories.set(story + 1);
        let plane = Self { install, began: support::at(story * STORY), known: RefCell::default() };
        // What the story before has left.
        let store = install.replica(0);
        plane.sweep_requests(&store, plane.began).await.unwrap();
        plane.sweep_grants(&store, plane.began).await.unwrap();
        statements::sweep(&store, plane.began).await.unwrap();
        plane
    }

    fn at(&self, seconds: u64) -> Micros {
        self.began.plus(Duration::from_secs(seconds))
    }

    /// One replica is stopped and started again.
    pub async fn restart(&self, at: usize) {
        let at = at % self.install.replicas.borrow().len();
        self.install.replica(at).close().await;
        let opened = Store::open(&self.install.config).await.unwrap();
        self.install.replicas.borrow_mut()[at] = opened;
    }

    /// Does it at a replica, and tells what comes of it.
    pub async fn act(&self, at: usize, key: Key, action: Action, now: u64) -> Result<Outcome, String> {
        let (store, now) = (&self.install.replica(at), self.at(now));
        match action {
            Action::Send { session, text } => self.send(store, key, session, text, now).await,
            Action::Run { session, review, text } => {
                statements::run(store, &self.session(session).0, &self.review(review), text, now).await
            }
            action => self.done(store, key, action, now).await.map(Outcome::from),
        }
    }

    /// Of what is done or not.
    async fn done(&self, store: &Store, key: Key, action: Action, now: Micros) -> Result<bool, String> {
        let people = &self.install.people;
        match action {
            Action::Send { .. } | Action::Run { .. } => unreachable!("these end in more ways"),
            Action::Review { by, review, vote } => {
                statements::answer(store, &people[&by], &self.review(review), vote, now).await
            }
            Action::GiveUp { session, review, ticket } => {
                statements::give_up(store, &self.session(session).0, &self.review(review), ticket, now).await
            }
            Action::TakeBack { by, review } => {
                let taken = reviews::withdraw(store, &people[&by], &self.review(review), None, now).await;
                Ok(done(taken)?.is_some())
            }
            Action::Ask { by, role, for_whom, minutes } => {
                let body = CreateRequest {
                    on_behalf_of: for_whom.map(|whom| people[&whom].principal.name.clone()),
                    // What is for another ticket is another grant.
                    ticket: Some(format!("T-{key}")),
                    duration: format!("{minutes}m"),
                    ..support::ask(match role {
                        Role::Open => "open",
                        Role::Read => "read",
                        Role::Write => "write",
                    })
                };
                let lifetime = Duration::from_secs(LIFETIME);
                let made = done(requests::submit(store, &people[&by], &body, lifetime, now).await)?;
                if let Some((request, _)) = &made {
                    let mut known = self.known.borrow_mut();
                    known.requests.insert(key, request.id.clone());
                    known.grants.extend(request.grant_id.clone().map(|grant| (key, grant)));
                }
                Ok(made.is_some())
            }
            Action::Approve { by, request, minutes } => {
                let minutes = minutes.map(|minutes| format!("{minutes}m"));
                let answer =
                    Answer { verdict: Verdict::Approve, reason: None, duration: minutes.as_deref(), relations: &[] };
                self.answer(store, by, request, answer, now).await
            }
            Action::Deny { by, request } => {
                let answer = Answer { verdict: Verdict::Deny, reason: Some("no"), duration: None, relations: &[] };
                self.answer(store, by, request, answer, now).await
            }
            Action::Withdraw { by, request } => {
                let id = self.request(request);
                Ok(done(requests::withdraw(store, &people[&by], &id, now).await)?.is_some())
            }
            Action::Claim { by, grant } => {
                let id = self.grant(grant);
                Ok(done(grants::claim(store, &people[&by], &id, CredentialUse::Url, now).await)?.is_some())
            }
            Action::Connect { grant } => self.connect(store, key, grant, now).await,
            Action::Leave { session } => {
                let (id, _) = self.session(session);
                end(store, &id, now).await
            }
            Action::Kill { by, session } => {
                let (id, _) = self.session(session);
                Ok(done(clients::kill(store, &people[&by], &id, None, now).await)?.is_some())
            }
            Action::Extend { by, grant, minutes } => {
                let body = Extend { duration: format!("{minutes}m"), reason: "more".to_owned() };
                let lifetime = Duration::from_secs(LIFETIME);
                let asked = requests::extend(store, &people[&by], &self.grant(grant), &body, lifetime, now).await;
                let Some((request, _)) = done(asked)? else { return Ok(false) };
                self.known.borrow_mut().requests.insert(key, request.id);
                Ok(true)
            }
            Action::Revoke { by, grant } => {
                let revoked = done(grants::revoke(store, &people[&by], &self.grant(grant), None, now).await)?;
                if let Some((_, effects)) = &revoked {
                    self.perform(store, effects, now).await?;
                }
                Ok(revoked.is_some())
            }
            Action::SweepRequests => self.sweep_requests(store, now).await.map(|()| true),
            Action::SweepGrants => self.sweep_grants(store, now).await.map(|()| true),
            Action::SweepReviews => statements::sweep(store, now).await.map(|()| true),
        }
    }

    fn request(&self, key: Key) -> RequestId {
        self.known.borrow().requests[&key].clone()
    }

    fn grant(&self, key: Key) -> GrantId {
        self.known.borrow().grants[&key].clone()
    }

    fn session(&self, key: Key) -> (SessionId, Key) {
        self.known.borrow().sessions[&key].clone()
    }

    async fn answer(&self, store: &Store, by: Who, key: Key, answer: Answer<'_>, now: Micros) -> Result<bool, String> {
        let id = self.request(key);
        let answered = done(requests::review(store, &self.install.people[&by], &id, answer, now).await)?;
        let Some((request, _)) = answered else { return Ok(false) };
        if let Some(grant) = request.grant_id.filter(|_| request.kind != RequestKind::Extension) {
            let before = self.known.borrow_mut().grants.insert(key, grant.clone());
            if before.is_some_and(|before| before != grant) {
                return Err("one request became two grants".to_owned());
            }
        }
        Ok(true)
    }

    /// As a gateway asks for it, once the client has proved the secret, and then the connector.
    async fn connect(&self, store: &Store, key: Key, grant: Key, now: Micros) -> Result<bool, String> {
        let id = self.grant(grant);
        let Some(login) = grants::login(store, id.as_str(), now).await.map_err(|error| error.to_string())? else {
            return Ok(false);
        };
        let session_id = SessionId::new();
        let session = NewSession {
            id: &session_id,
            grant_id: &login.grant_id,
            principal_id: &login.principal.id,
            on_behalf_of_id: login.on_behalf_of.as_ref().map(|user| &user.id),
            connection: login.connection.name(),
            role: &login.role_name,
            client_address: "192.0.2.7",
            gateway_id: "gwy_test",
            connector_id: CONNECTOR,
            incarnation: INCARNATION,
            auth_method: "scram-sha-256",
        };
        let mut tx = store.begin().await.map_err(|error| error.to_string())?;
        let authorized = sessions::authorize(&mut tx, &session, now).await.map_err(|error| error.to_string())?;
        tx.commit().await.map_err(|error| error.to_string())?;
        let open = login.status == GrantStatus::Open && !login.principal_disabled;
        if authorized && !open {
            return Err("a session may begin that the login refuses".to_owned());
        }
        if !authorized {
            return Ok(false);
        }
        let over = {
            let mut known = self.known.borrow_mut();
            known.sessions.insert(key, (session_id.clone(), grant));
            known.over.contains(&grant)
        };
        if over {
            end(store, &session_id, now).await?;
        }
        Ok(true)
    }

    async fn sweep_requests(&self, store: &Store, now: Micros) -> Result<(), String> {
        while requests::expire_due(store, now).await.map_err(|error| error.to_string())? > 0 {}
        Ok(())
    }

    async fn sweep_grants(&self, store: &Store, now: Micros) -> Result<(), String> {
        loop {
            let ended = grants::expire_due(store, now).await.map_err(|error| error.to_string())?;
            if ended.is_empty() {
                return Ok(());
            }
            self.perform(store, &ended, now).await?;
        }
    }

    async fn send(&self, store: &Store, key: Key, session: Key, text: Text, now: Micros) -> Result<Outcome, String> {
        let (id, _) = self.session(session);
        let (outcome, review) = statements::send(store, &id, text, now).await?;
        let Some(review) = review else { return Ok(outcome) };
        // Of two that send it at once, one opened it.
        let is_known = self.known.borrow().reviews.values().any(|known| *known == review);
        let boss = &self.install.people[&Who::Boss];
        if !is_known && reviews::get(store, boss, &review, None).await.unwrap().session_id == id {
            self.known.borrow_mut().reviews.insert(key, review);
        }
        Ok(outcome)
    }

    fn review(&self, key: Key) -> ReviewId {
        self.known.borrow().reviews[&key].clone()
    }

    async fn perform(&self, store: &Store, effects: &[Effect], now: Micros) -> Result<(), String> {
        for effect in effects {
            let Effect::EndGrant(over, _) = effect else { continue };
            let ended: Vec<_> = {
                let mut known = self.known.borrow_mut();
                let Some(key) = known.grants.iter().find(|(_, grant)| *grant == over).map(|(key, _)| *key) else {
                    continue;
                };
                known.over.insert(key);
                let of = |(id, grant): &(SessionId, Key)| (*grant == key).then(|| id.clone());
                known.sessions.values().filter_map(of).collect()
            };
            for id in ended {
                end(store, &id, now).await?;
            }
        }
        Ok(())
    }

    /// What an admin sees at a replica.
    pub async fn seen(&self, at: usize, now: u64) -> Seen {
        let (store, now, boss) = (&self.install.replica(at), self.at(now), &self.install.people[&Who::Boss]);
        let (requests, grants, sessions) = {
            let known = self.known.borrow();
            (known.requests.clone(), known.grants.clone(), known.sessions.clone())
        };
        let who = |id: &PrincipalId| {
            let found = self.install.people.iter().find(|(_, actor)| actor.principal.id == *id);
            *found.unwrap().0
        };
        let mut seen = Seen::default();
        for (key, id) in requests {
            let request = requests::get(store, boss, &id).await.unwrap();
            let vote = |vote: &postern_api::access::Vote| (who(&vote.reviewer.id), vote.verdict == Verdict::Approve);
            let mut votes: Vec<_> = request.votes.iter().map(vote).collect();
            votes.sort_unstable();
            let duration = parse_duration(&request.duration).unwrap().as_secs();
            seen.requests.insert(key, (text(&request.status), duration, votes));
        }
        for (key, id) in grants {
            let grant = grants::get(store, boss, &id).await.unwrap();
            let ends = grant.ends_at.since(self.began).as_secs();
            seen.grants.insert(key, (text(&grant.status(now)), ends));
        }
        for (key, (id, _)) in sessions {
            let session = clients::get(store, boss, &id).await.unwrap();
            if session.status != SessionStatus::Ended {
                seen.sessions.insert(key);
            }
        }
        let reviews = self.known.borrow().reviews.clone();
        for (key, id) in reviews {
            let review = reviews::get(store, boss, &id, None).await.unwrap();
            let vote = |vote: &ReviewVote| (who(&vote.reviewer.id), vote.approves.is_some());
            let mut votes: Vec<_> = review.votes.iter().map(vote).collect();
            votes.sort_unstable();
            seen.reviews.insert(key, (text(&review.status), u64::from(review.uses), votes));
        }
        seen
    }
}

/// As the API writes it.
fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

/// What a connector says of a session's end.
async fn end(store: &Store, id: &SessionId, now: Micros) -> Result<bool, String> {
    let mut tx = store.begin().await.map_err(|error| error.to_string())?;
    let ended = sessions::end(&mut tx, id, "client", now).await.map_err(|error| error.to_string())?;
    tx.commit().await.map_err(|error| error.to_string())?;
    Ok(ended)
}
