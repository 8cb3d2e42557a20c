//! What has to hold, in memory and without any of the control plane's code.

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
    /// What time has ended is recorded.
    Sweep,
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
    /// Only its principal gets the secret.
    OwnSecret,
    /// Who has nothing to do with a grant does not end it.
    OwnGrant,
    /// A grant's sessions end with it.
    SessionsEnd,
}

impl Rule {
    pub const ALL: [Self; 17] = [
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
        Self::OwnSecret,
        Self::OwnGrant,
        Self::SessionsEnd,
    ];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Pending,
    Approved,
    Denied,
    Withdrawn,
    Expired,
}

#[derive(Clone, Debug)]
pub struct Request {
    pub by: Who,
    pub for_whom: Option<Who>,
    pub standing: Standing,
    role: Role,
    minutes: u64,
    since: u64,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Expired,
    Revoked,
}

/// What everybody can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where requests stand, for how many seconds they are, and who has said what.
    pub requests: BTreeMap<Key, (String, u64, Vec<(Who, bool)>)>,
    /// Where grants stand, and when they end.
    pub grants: BTreeMap<Key, (String, u64)>,
    /// The sessions that are not over.
    pub sessions: BTreeSet<Key>,
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
    without: Option<Rule>,
}

impl Model {
    pub fn new(without: Option<Rule>) -> Self {
        let (requests, grants, sessions) = Default::default();
        Self { now: 0, requests, grants, sessions, without }
    }

    fn keeps(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// Does it, and tells whether it may be done.
    pub fn act(&mut self, key: Key, action: Action) -> bool {
        match action {
            Action::Ask { by, role, for_whom, minutes } => self.ask(key, by, role, for_whom, minutes),
            Action::Approve { by, request, minutes } => self.answer(by, request, true, minutes),
            Action::Deny { by, request } => self.answer(by, request, false, None),
            Action::Withdraw { by, request } => self.withdraw(by, request),
            Action::Claim { by, grant } => {
                let may = self.requests[&grant].by == by || !self.keeps(Rule::OwnSecret);
                let may = may && self.state(grant) == State::Open;
                self.grants.get_mut(&grant).unwrap().claimed |= may;
                may
            }
            Action::Connect { grant } => {
                let may = self.grants[&grant].claimed && self.state(grant) == State::Open;
                if may {
                    self.sessions.insert(key, Session { grant, live: true });
                }
                may
            }
            Action::Leave { session } => std::mem::replace(&mut self.sessions.get_mut(&session).unwrap().live, false),
            Action::Kill { by, session } => {
                let Session { grant, live } = self.sessions[&session];
                let may = live && self.may_end(by, grant);
                self.sessions.get_mut(&session).unwrap().live &= !may;
                may
            }
            Action::Revoke { by, grant } => self.revoke(by, grant),
            Action::Sweep => {
                self.sweep();
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
        let request = Request { by, role, for_whom, standing, minutes, since: self.now, votes };
        self.requests.insert(key, request);
        if role.needs() == 0 {
            self.grant(key, minutes);
        }
        true
    }

    fn answer(&mut self, by: Who, key: Key, yes: bool, minutes: Option<u64>) -> bool {
        let request = &self.requests[&key];
        let oneself = request.by == by && self.keeps(Rule::NotOneself);
        let for_oneself = request.for_whom == Some(by) && self.keeps(Rule::NotForOneself);
        let agent = by.is_agent() && self.keeps(Rule::NoAgents);
        if oneself || for_oneself || agent || (!by.is_dba() && self.keeps(Rule::ReviewersOnly)) {
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
        let request = self.requests.get_mut(&key).unwrap();
        request.votes.push((by, yes));
        if !yes {
            request.standing = Standing::Denied;
        } else if request.votes.len() + spare >= request.role.needs() {
            self.grant(key, given);
        } else if shortest {
            request.minutes = given;
        }
        true
    }

    fn waits(&self, request: &Request) -> bool {
        let in_time = self.now < request.since + LIFETIME || !self.keeps(Rule::Waits);
        let undecided = request.standing == Standing::Pending
            || (!self.keeps(Rule::Decided) && matches!(request.standing, Standing::Denied | Standing::Withdrawn));
        in_time && undecided
    }

    fn grant(&mut self, key: Key, minutes: u64) {
        let from = if self.keeps(Rule::FromApproval) { self.now } else { self.requests[&key].since };
        let request = self.requests.get_mut(&key).unwrap();
        (request.standing, request.minutes) = (Standing::Approved, minutes);
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

    fn sweep(&mut self) {
        let now = self.now;
        let overdue = |request: &&mut Request| request.standing == Standing::Pending && now >= request.since + LIFETIME;
        for request in self.requests.values_mut().filter(overdue) {
            request.standing = Standing::Expired;
        }
        let ended = self.grants.iter_mut().filter(|(_, grant)| !grant.over && now >= grant.ends);
        let ended: Vec<_> = ended.map(|(key, grant)| (*key, std::mem::replace(&mut grant.over, true))).collect();
        ended.into_iter().for_each(|(key, _)| self.end_sessions(key));
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
            sessions: self.sessions.iter().filter(|(_, session)| session.live).map(|(key, _)| *key).collect(),
        }
    }
}
