//! What has to hold, in memory and without any of the control plane's code.
//!
//! Here are requests, grants and sessions; `reviewed` has the statements that wait for people.

mod reviewed;

pub use reviewed::{Proposal, Review, Text};
use std::collections::{BTreeMap, BTreeSet};

/// The step that made it.
pub type Key = usize;

/// So long a request waits, in seconds.
pub const LIFETIME: u64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Alice,
    Dba1,
    Dba2,
    Dba3,
    /// An admin, and no reviewer.
    Boss,
    /// An agent that asks.
    Agent,
    /// An agent in the reviewers' group.
    Robot,
}

impl Who {
    pub const ALL: [Self; 7] = [Self::Alice, Self::Dba1, Self::Dba2, Self::Dba3, Self::Boss, Self::Agent, Self::Robot];

    pub fn is_agent(self) -> bool {
        matches!(self, Self::Agent | Self::Robot)
    }

    pub fn is_dba(self) -> bool {
        matches!(self, Self::Dba1 | Self::Dba2 | Self::Dba3 | Self::Robot)
    }

    /// May ask for the roles of the connection.
    fn asks(self) -> bool {
        self.is_dba() || self == Self::Agent
    }
}

/// What is asked for: how many of the reviewers have to agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Open,
    Read,
    Write,
}

impl Role {
    fn needs(self) -> usize {
        self as usize
    }
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Ask {
        by: Who,
        role: Role,
        for_whom: Option<Who>,
        minutes: u64,
    },
    Approve {
        by: Who,
        request: Key,
        minutes: Option<u64>,
    },
    Deny {
        by: Who,
        request: Key,
    },
    Withdraw {
        by: Who,
        request: Key,
    },
    /// The secret of a grant.
    Claim {
        by: Who,
        grant: Key,
    },
    /// A client with that secret.
    Connect {
        grant: Key,
    },
    /// The client is gone.
    Leave {
        session: Key,
    },
    Kill {
        by: Who,
        session: Key,
    },
    Revoke {
        by: Who,
        grant: Key,
    },
    /// That a grant ends later.
    Extend {
        by: Who,
        grant: Key,
        minutes: u64,
    },
    /// A session sends a statement for which people have to agree.
    Send {
        session: Key,
        text: Text,
    },
    /// Yes, to this; or no.
    Review {
        by: Who,
        review: Key,
        vote: Option<Proposal>,
    },
    /// A session begins to run a statement by a review.
    Run {
        session: Key,
        review: Key,
        text: Text,
    },
    /// A session waits no more; with a ticket, since it took too long.
    GiveUp {
        session: Key,
        review: Key,
        ticket: bool,
    },
    TakeBack {
        by: Who,
        review: Key,
    },
    /// What time has ended is recorded.
    SweepRequests,
    SweepGrants,
    SweepReviews,
}

/// What comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    No,
    Yes,
    /// It waits for people.
    Waits,
    /// It runs, held to so many rows.
    Runs(Option<u64>),
}

impl From<bool> for Outcome {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

/// The rules that can be left out, to see that it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A reviewer counts once.
    OneVoteEach,
    /// As many as are needed.
    Threshold,
    /// Nobody reviews their own request.
    NotOneself,
    /// Nor one that is made for them.
    NotForOneself,
    NoAgents,
    ReviewersOnly,
    /// A request waits for a time.
    Waits,
    /// What was decided stays so.
    Decided,
    /// Only the requester takes a request back.
    OwnRequest,
    /// A reviewer may give less time, not more.
    NoLonger,
    /// The least that any of them gave.
    Shortest,
    /// Time counts from approval.
    FromApproval,
    /// A grant's end is its end.
    Ends,
    /// So is its revocation.
    Revoked,
    /// What is over does not go on.
    NotRevived,
    /// Only its principal gets the secret.
    OwnSecret,
    /// Who has nothing to do with a grant does not end it.
    OwnGrant,
    /// A grant's sessions end with it.
    SessionsEnd,
    /// What was approved once runs once.
    Once,
    /// An approval is for the very statement.
    Key,
    /// But for the literals that were left free.
    Literals,
    /// A review's time ends.
    ReviewEnds,
    /// What was asked for in a session that was killed does not run.
    Killed,
    /// Who left with a ticket may come back, whoever else gives up.
    Ticket,
}

impl Rule {
    pub const ALL: [Self; 24] = [
        Self::OneVoteEach,
        Self::Threshold,
        Self::NotOneself,
        Self::NotForOneself,
        Self::NoAgents,
        Self::ReviewersOnly,
        Self::Waits,
        Self::Decided,
        Self::OwnRequest,
        Self::NoLonger,
        Self::Shortest,
        Self::FromApproval,
        Self::Ends,
        Self::Revoked,
        Self::NotRevived,
        Self::OwnSecret,
        Self::OwnGrant,
        Self::SessionsEnd,
        Self::Once,
        Self::Key,
        Self::Literals,
        Self::ReviewEnds,
        Self::Killed,
        Self::Ticket,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Pending,
    Approved,
    Denied,
    Withdrawn,
    Expired,
    Claimed,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub by: Who,
    pub for_whom: Option<Who>,
    pub standing: Standing,
    role: Role,
    minutes: u64,
    since: u64,
    expires: u64,
    /// The grant that is to end later.
    extends: Option<Key>,
    votes: Vec<(Who, bool)>,
}

#[derive(Clone, Debug)]
pub struct Grant {
    ends: u64,
    claimed: bool,
    revoked: bool,
    /// Its end was recorded.
    over: bool,
}

#[derive(Clone, Debug)]
pub struct Session {
    pub grant: Key,
    pub live: bool,
    /// Somebody ended it.
    killed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Expired,
    Revoked,
}

/// Who has said yes, or no.
type Said = Vec<(Who, bool)>;

/// What everybody can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where requests stand, for how many seconds they are, and who has said what.
    pub requests: BTreeMap<Key, (String, u64, Said)>,
    /// Where grants stand, and when they end.
    pub grants: BTreeMap<Key, (String, u64)>,
    /// The sessions that are not over.
    pub sessions: BTreeSet<Key>,
    /// Where reviews stand, how often they were used, and who has said what.
    pub reviews: BTreeMap<Key, (String, u64, Said)>,
}

#[derive(Clone, Debug)]
pub struct Model {
    /// Seconds since the story began.
    pub now: u64,
    /// By the step that asked.
    pub requests: BTreeMap<Key, Request>,
    /// By the request's.
    pub grants: BTreeMap<Key, Grant>,
    pub sessions: BTreeMap<Key, Session>,
    /// By the step that sent the statement first.
    pub reviews: BTreeMap<Key, Review>,
    /// What sessions wait for.
    pub waits: BTreeMap<Key, (Key, Text)>,
    without: Option<Rule>,
}

impl Model {
    pub fn new(without: Option<Rule>) -> Self {
        let (requests, grants, sessions, reviews, waits) = Default::default();
        Self { now: 0, requests, grants, sessions, reviews, waits, without }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Does it, and tells what comes of it.
    pub fn act(&mut self, key: Key, action: Action) -> Outcome {
        match action {
            Action::Send { session, text } => self.send(key, session, text),
            Action::Run { session, review, text } => self.run(session, review, text),
            action => self.done(key, action).into(),
        }
    }

    /// Of what is done or not.
    fn done(&mut self, key: Key, action: Action) -> bool {
        match action {
            Action::Send { .. } | Action::Run { .. } => unreachable!("these end in more ways"),
            Action::Review { by, review, vote } => self.answer_review(by, review, vote),
            Action::GiveUp { session, review, ticket } => {
                self.give_up(session, review, ticket);
                true
            }
            Action::TakeBack { by, review } => self.take_back(by, review),
            Action::Ask { by, role, for_whom, minutes } => self.ask(key, by, role, for_whom, minutes),
            Action::Approve { by, request, minutes } => self.answer(by, request, true, minutes),
            Action::Deny { by, request } => self.answer(by, request, false, None),
            Action::Withdraw { by, request } => self.withdraw(by, request),
            Action::Claim { by, grant } => {
                let may = self.requests[&grant].by == by || !self.keeps(Rule::OwnSecret);
                let may = may && self.is_open(grant);
                self.grants.get_mut(&grant).unwrap().claimed |= may;
                may
            }
            Action::Connect { grant } => {
                let may = self.grants[&grant].claimed && self.is_open(grant);
                if may {
                    self.sessions.insert(key, Session { grant, live: true, killed: false });
                }
                may
            }
            Action::Leave { session } => std::mem::replace(&mut self.sessions.get_mut(&session).unwrap().live, false),
            Action::Kill { by, session } => {
                let Session { grant, live, .. } = self.sessions[&session];
                let may = live && self.may_end(by, grant);
                let session = self.sessions.get_mut(&session).unwrap();
                session.live &= !may;
                session.killed |= may;
                may
            }
            Action::Revoke { by, grant } => self.revoke(by, grant),
            Action::Extend { by, grant, minutes } => self.extend(key, by, grant, minutes),
            Action::SweepRequests => {
                self.sweep_requests();
                true
            }
            Action::SweepGrants => {
                self.sweep_grants();
                true
            }
            Action::SweepReviews => {
                self.sweep_reviews();
                true
            }
        }
    }

    fn ask(&mut self, key: Key, by: Who, role: Role, for_whom: Option<Who>, minutes: u64) -> bool {
        // Only an agent acts for somebody, and for a person.
        if !by.asks() || for_whom.is_some_and(|whom| !by.is_agent() || whom.is_agent()) {
            return false;
        }
        let (standing, votes) = (Standing::Pending, Vec::new());
        let (since, expires) = (self.now, self.now + LIFETIME);
        let request = Request { by, role, for_whom, standing, minutes, since, expires, extends: None, votes };
        self.requests.insert(key, request);
        if role.needs() == 0 {
            self.grant(key, minutes);
        }
        true
    }

    fn extend(&mut self, key: Key, by: Who, grant: Key, minutes: u64) -> bool {
        let request = &self.requests[&grant];
        if request.by != by || !self.is_open(grant) {
            return false;
        }
        let request = Request {
            standing: Standing::Pending,
            minutes,
            since: self.now,
            // Nobody extends what is over.
            expires: (self.now + LIFETIME).min(self.grants[&grant].ends),
            extends: Some(grant),
            votes: Vec::new(),
            ..request.clone()
        };
        let needs = request.role.needs();
        self.requests.insert(key, request);
        if needs == 0 {
            self.grant(key, minutes);
        }
        true
    }

    /// Whether somebody may answer what another asks, for a third.
    fn may_review(&self, by: Who, asks: Who, for_whom: Option<Who>) -> bool {
        let oneself = asks == by && self.keeps(Rule::NotOneself);
        let for_oneself = for_whom == Some(by) && self.keeps(Rule::NotForOneself);
        let agent = by.is_agent() && self.keeps(Rule::NoAgents);
        !oneself && !for_oneself && !agent && (by.is_dba() || !self.keeps(Rule::ReviewersOnly))
    }

    fn answer(&mut self, by: Who, key: Key, yes: bool, minutes: Option<u64>) -> bool {
        let request = &self.requests[&key];
        if !self.may_review(by, request.by, request.for_whom) {
            return false;
        }
        if self.keeps(Rule::OneVoteEach)
            && let Some((_, before)) = request.votes.iter().find(|(who, _)| *who == by)
        {
            return *before == yes;
        }
        if !self.waits(request)
            || minutes.is_some_and(|minutes| minutes > request.minutes && self.keeps(Rule::NoLonger))
        {
            return false;
        }
        let given = minutes.unwrap_or(request.minutes);
        let shortest = self.keeps(Rule::Shortest);
        let spare = usize::from(!self.keeps(Rule::Threshold));
        let decides = yes && request.votes.len() + 1 + spare >= request.role.needs();
        let over = request.extends.is_some_and(|grant| !self.is_open(grant)) && self.keeps(Rule::NotRevived);
        if decides && over {
            return false;
        }
        let request = self.requests.get_mut(&key).unwrap();
        request.votes.push((by, yes));
        if !yes {
            request.standing = Standing::Denied;
        } else if decides {
            self.grant(key, given);
        } else if shortest {
            request.minutes = given;
        }
        true
    }

    fn waits(&self, request: &Request) -> bool {
        let in_time = self.now < request.expires || !self.keeps(Rule::Waits);
        let undecided = request.standing == Standing::Pending
            || (!self.keeps(Rule::Decided) && matches!(request.standing, Standing::Denied | Standing::Withdrawn));
        in_time && undecided
    }

    /// Does what was asked for.
    fn grant(&mut self, key: Key, minutes: u64) {
        let from = if self.keeps(Rule::FromApproval) { self.now } else { self.requests[&key].since };
        let request = self.requests.get_mut(&key).unwrap();
        (request.standing, request.minutes) = (Standing::Approved, minutes);
        if let Some(grant) = request.extends {
            self.grants.get_mut(&grant).unwrap().ends += 60 * minutes;
            return;
        }
        let grant = Grant { ends: from + 60 * minutes, claimed: false, revoked: false, over: false };
        self.grants.insert(key, grant);
    }

    fn withdraw(&mut self, by: Who, key: Key) -> bool {
        let request = &self.requests[&key];
        if request.by != by && self.keeps(Rule::OwnRequest) {
            return false;
        }
        if request.standing == Standing::Withdrawn {
            return true;
        }
        let may = self.waits(request);
        if may {
            self.requests.get_mut(&key).unwrap().standing = Standing::Withdrawn;
        }
        may
    }

    fn may_end(&self, by: Who, grant: Key) -> bool {
        let request = &self.requests[&grant];
        by == request.by || Some(by) == request.for_whom || by == Who::Boss || !self.keeps(Rule::OwnGrant)
    }

    fn revoke(&mut self, by: Who, key: Key) -> bool {
        let grant = &self.grants[&key];
        if !self.may_end(by, key) {
            return false;
        }
        if grant.revoked {
            return true;
        }
        let may = !grant.over;
        if may {
            let grant = self.grants.get_mut(&key).unwrap();
            (grant.revoked, grant.over) = (true, true);
            self.end_sessions(key);
        }
        may
    }

    fn end_sessions(&mut self, grant: Key) {
        if self.keeps(Rule::SessionsEnd) {
            self.sessions
                .values_mut()
                .filter(|session| session.grant == grant)
                .for_each(|session| session.live = false);
        }
    }

    fn sweep_requests(&mut self) {
        let now = self.now;
        let overdue = |request: &&mut Request| request.standing == Standing::Pending && now >= request.expires;
        for request in self.requests.values_mut().filter(overdue) {
            request.standing = Standing::Expired;
        }
    }

    fn sweep_grants(&mut self) {
        let now = self.now;
        let ended = self.grants.iter_mut().filter(|(_, grant)| !grant.over && now >= grant.ends);
        let ended: Vec<_> = ended.map(|(key, grant)| (*key, std::mem::replace(&mut grant.over, true))).collect();
        ended.into_iter().for_each(|(key, _)| self.end_sessions(key));
    }

    fn is_open(&self, grant: Key) -> bool {
        self.state(grant) == State::Open
    }

    fn state(&self, key: Key) -> State {
        let grant = &self.grants[&key];
        if grant.revoked && self.keeps(Rule::Revoked) {
            State::Revoked
        } else if self.now >= grant.ends && self.keeps(Rule::Ends) {
            State::Expired
        } else {
            State::Open
        }
    }

    /// What everybody is to see.
    pub fn seen(&self) -> Seen {
        let request = |request: &Request| {
            let mut votes = request.votes.clone();
            votes.sort_unstable();
            (format!("{:?}", request.standing).to_lowercase(), 60 * request.minutes, votes)
        };
        let grant = |key: Key, grant: &Grant| (format!("{:?}", self.state(key)).to_lowercase(), grant.ends);
        Seen {
            requests: self.requests.iter().map(|(key, of)| (*key, request(of))).collect(),
            grants: self.grants.iter().map(|(key, of)| (*key, grant(*key, of))).collect(),
            reviews: self.reviews.iter().map(|(key, review)| (*key, review.seen())).collect(),
            sessions: self.sessions.iter().filter(|(_, session)| session.live).map(|(key, _)| *key).collect(),
        }
    }
}
