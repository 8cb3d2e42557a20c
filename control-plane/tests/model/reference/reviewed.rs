//! What has to hold of statements that wait for people.

use super::{Key, Model, Outcome, Request, Rule, Standing, Who};
use std::collections::{BTreeMap, BTreeSet};

/// So long an answer is waited for, and an approval can be used, in seconds.
pub const VALID: u64 = 3600;

/// A statement. The first two differ in a literal, which can be left free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    Purge,
    PurgeOther,
    Close,
}

impl Text {
    /// How many of the reviewers have to agree.
    pub fn needs(self) -> usize {
        if self == Self::Close { 2 } else { 1 }
    }

    fn is_like(self, other: Self) -> bool {
        (self == Self::Close) == (other == Self::Close)
    }
}

/// What a reviewer agrees to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Proposal {
    pub max_rows: Option<u64>,
    /// As often as the grant wants.
    pub for_grant: bool,
    /// Whatever its literal.
    pub free: bool,
}

#[derive(Clone, Debug)]
pub struct Review {
    pub by: Who,
    pub for_whom: Option<Who>,
    pub text: Text,
    grant: Key,
    session: Key,
    standing: Standing,
    since: u64,
    expires: u64,
    votes: BTreeMap<Who, Option<Proposal>>,
    /// Yeses that were given again, where that counts.
    again: usize,
    decision: Option<Proposal>,
    uses: u64,
    has_ticket: bool,
}

impl Review {
    fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Pending | Standing::Approved)
    }

    fn is_for_grant(&self) -> bool {
        self.decision.is_some_and(|decision| decision.for_grant)
    }

    /// Where it stands, how often it was used, and who has said what.
    pub fn seen(&self) -> (String, u64, Vec<(Who, bool)>) {
        let votes = self.votes.iter().map(|(who, vote)| (*who, vote.is_some())).collect();
        (format!("{:?}", self.standing).to_lowercase(), self.uses, votes)
    }
}

impl Model {
    /// Whether a session's grant lets it do anything.
    fn serves(&self, session: Key) -> bool {
        let session = &self.sessions[&session];
        session.live && self.is_open(session.grant)
    }

    pub(super) fn send(&mut self, key: Key, session: Key, text: Text) -> Outcome {
        if !self.serves(session) {
            return Outcome::No;
        }
        let found = self.answer_to(session, text);
        let review = found.unwrap_or_else(|| self.open_review(key, session, text));
        self.waits.insert(session, (review, text));
        if self.reviews[&review].standing == Standing::Approved { Outcome::Yes } else { Outcome::Waits }
    }

    /// The review whose answer a statement gets: one for its grant, else one for once that is approved, else one that waits;
    /// the newest of them.
    fn answer_to(&self, session: Key, text: Text) -> Option<Key> {
        let grant = self.sessions[&session].grant;
        let request = &self.requests[&grant];
        let lives = |review: &Review| review.is_open() && self.in_time(review);
        let for_grant = |review: &Review| {
            let free = review.decision.is_some_and(|decision| decision.free) || !self.keeps(Rule::Literals);
            let fits = if free { review.text.is_like(text) } else { review.text == text };
            review.standing == Standing::Approved && review.is_for_grant() && review.grant == grant && fits
        };
        let same = |review: &Review| {
            let of = &self.requests[&review.grant];
            let whose = (of.by, of.for_whom, of.role) == (request.by, request.for_whom, request.role);
            let text = review.text == text || (!self.keeps(Rule::Key) && review.text.is_like(text));
            whose && text && !review.is_for_grant()
        };
        let newest = |which: &dyn Fn(&Review) -> bool| {
            let mut found: Vec<_> = self.reviews.iter().filter(|(_, review)| lives(review) && which(review)).collect();
            found.sort_by_key(|(key, review)| (review.since, **key));
            found.last().map(|(key, _)| **key)
        };
        newest(&for_grant)
            .or_else(|| newest(&|review| same(review) && review.standing == Standing::Approved))
            .or_else(|| newest(&|review| same(review)))
    }
}

impl Model {
    fn in_time(&self, review: &Review) -> bool {
        self.now < review.expires || !self.keeps(Rule::ReviewEnds)
    }

    fn open_review(&mut self, key: Key, session: Key, text: Text) -> Key {
        let grant = self.sessions[&session].grant;
        let Request { by, for_whom, .. } = self.requests[&grant];
        let review = Review {
            by,
            text,
            for_whom,
            grant,
            session,
            standing: Standing::Pending,
            since: self.now,
            expires: self.grants[&grant].ends.min(self.now + VALID),
            votes: BTreeMap::new(),
            again: 0,
            decision: None,
            uses: 0,
            has_ticket: false,
        };
        self.reviews.insert(key, review);
        key
    }

    pub(super) fn answer_review(&mut self, by: Who, key: Key, vote: Option<Proposal>) -> bool {
        let review = &self.reviews[&key];
        if !self.may_review(by, review.by, review.for_whom) {
            return false;
        }
        if review.votes.get(&by) == Some(&vote) && self.keeps(Rule::OneVoteEach) {
            return true;
        }
        if review.standing != Standing::Pending || !self.in_time(review) {
            return false;
        }
        let mut after = review.clone();
        after.again += usize::from(after.votes.insert(by, vote) == Some(vote));
        match vote {
            None => after.standing = Standing::Denied,
            Some(_) if after.votes.len() + after.again >= review.text.needs() => {
                if !self.is_open(review.grant) {
                    return false;
                }
                after.agreed(self.grants[&review.grant].ends, self.now);
            }
            Some(_) => {}
        }
        self.reviews.insert(key, after);
        true
    }

    /// A session runs what it has asked about: to which rows that is bound.
    pub(super) fn run(&mut self, session: Key, key: Key, text: Text) -> Outcome {
        if !self.serves(session) {
            return Outcome::No;
        }
        let review = &self.reviews[&key];
        let usable =
            review.standing == Standing::Approved || (review.standing == Standing::Claimed && !self.keeps(Rule::Once));
        let stands = self.is_open(review.grant) && !(self.sessions[&review.session].killed && self.keeps(Rule::Killed));
        let Some(decision) = review.decision.filter(|_| usable && self.in_time(review) && stands) else {
            return Outcome::No;
        };
        if self.waits.get(&session) != Some(&(key, text)) && self.keeps(Rule::Once) {
            return Outcome::No;
        }
        self.waits.remove(&session);
        let review = self.reviews.get_mut(&key).unwrap();
        review.uses += 1;
        if !decision.for_grant {
            review.standing = Standing::Claimed;
        }
        Outcome::Runs(decision.max_rows)
    }

    /// A session waits no more; with a ticket, since it took too long.
    pub(super) fn give_up(&mut self, session: Key, key: Key, ticket: bool) {
        if self.waits.get(&session).is_some_and(|(review, _)| *review == key) {
            self.waits.remove(&session);
            if ticket {
                self.reviews.get_mut(&key).unwrap().has_ticket = true;
            } else {
                self.nobody_waits(key);
            }
        }
    }

    fn nobody_waits(&mut self, key: Key) {
        let waited_for = self.waits.values().any(|(review, _)| *review == key);
        let keeps = self.keeps(Rule::Ticket);
        let review = self.reviews.get_mut(&key).unwrap();
        let given_up = !(waited_for || keeps && review.has_ticket);
        if given_up && review.is_open() && !review.is_for_grant() {
            review.standing = Standing::Withdrawn;
        }
    }

    pub(super) fn take_back(&mut self, by: Who, key: Key) -> bool {
        let review = &self.reviews[&key];
        if review.by != by {
            return false;
        }
        let may = review.is_open() && self.in_time(review);
        let is_already = review.standing == Standing::Withdrawn;
        if may {
            self.reviews.get_mut(&key).unwrap().standing = Standing::Withdrawn;
        }
        may || is_already
    }

    pub(super) fn sweep_reviews(&mut self) {
        let (grants, sessions, now) = (&self.grants, &self.sessions, self.now);
        for review in self.reviews.values_mut().filter(|review| review.is_open()) {
            if grants[&review.grant].over || sessions[&review.session].killed {
                review.standing = Standing::Withdrawn;
            } else if now >= review.expires {
                review.standing = Standing::Expired;
            }
        }
        let ended: BTreeSet<_> = self.waits.keys().copied().filter(|session| !self.sessions[session].live).collect();
        for session in ended {
            let (review, _) = self.waits.remove(&session).unwrap();
            self.nobody_waits(review);
        }
    }
}

impl Review {
    /// Enough have agreed, and what is approved is what all of them agree to.
    fn agreed(&mut self, grant_ends: u64, now: u64) {
        let agreed = self.votes.values().flatten().copied();
        let strictest = |one: Proposal, other: Proposal| Proposal {
            max_rows: one.max_rows.into_iter().chain(other.max_rows).min(),
            for_grant: one.for_grant && other.for_grant,
            free: one.free && other.free,
        };
        self.decision = agreed.reduce(strictest);
        self.standing = Standing::Approved;
        self.expires = if self.is_for_grant() { grant_ends } else { grant_ends.min(now + VALID) };
    }
}
