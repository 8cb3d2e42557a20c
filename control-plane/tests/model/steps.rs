//! What happens in a story.

use crate::{
    plane::Plane,
    reference::{Action, Key, Model, Outcome, Proposal, Request, Review, Role, Seen, Text, Who},
};
use postern_fuzz::proptest::{
    collection::vec,
    prelude::{Just, any},
    prop_oneof,
    sample::select,
    strategy::Strategy,
};

/// A story has at most so many.
const STEPS: usize = 60;

/// Which of several [`Deed::which`] means: done by whoever mostly does it.
const LAST: u8 = 6;
const LAST_BUT_ONE: u8 = 7;

#[derive(Clone, Debug)]
pub enum Step {
    One(Deed),
    /// Both at the same moment, each at a replica of its own where there are two.
    AtOnce(Deed, Deed),
    /// So many seconds pass.
    Wait(u64),
    /// A replica is stopped and started again.
    Restart,
}

/// An action that speaks of one of the last that there are.
#[derive(Clone, Debug)]
pub struct Deed {
    what: What,
    by: Who,
    role: Role,
    for_whom: Option<Who>,
    minutes: u64,
    less: Option<u64>,
    text: Text,
    vote: Option<Proposal>,
    which: u8,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Ask,
    Approve,
    Deny,
    Withdraw,
    Claim,
    Connect,
    Leave,
    Kill,
    Revoke,
    Extend,
    Send,
    Review,
    Run,
    GiveUp,
    TakeBack,
    Sweep,
}

pub fn story() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => deed().prop_map(Step::One),
        5 => (deed(), deed()).prop_map(|(one, other)| Step::AtOnce(one, other)),
        3 => prop_oneof![1..60u64, 60..1_200u64, 1_800..4_000u64].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    let begins = select(vec![Vec::new(), served(), extended_too_late(), killed_before_it_ran()]);
    (begins, vec(step, 1..STEPS)).prop_map(|(begins, steps)| begins.into_iter().chain(steps).collect())
}

/// Two sessions of a grant that nobody has to agree to.
fn served() -> Vec<Step> {
    [What::Ask, What::Claim, What::Connect, What::Connect].map(|what| Step::One(Deed::of(what, LAST))).into()
}

/// A grant that is to end later, and is revoked before that is agreed to.
fn extended_too_late() -> Vec<Step> {
    let whats = [What::Ask, What::Approve, What::Claim, What::Extend, What::Revoke, What::Approve];
    whats.map(|what| Step::One(Deed { role: Role::Read, ..Deed::of(what, LAST) })).into()
}

/// A statement that is agreed to once its session was killed, and that another session sends.
fn killed_before_it_ran() -> Vec<Step> {
    let deeds = [
        (What::Send, LAST_BUT_ONE),
        (What::Kill, LAST_BUT_ONE),
        (What::Review, LAST),
        (What::Send, LAST),
        (What::Run, LAST),
    ];
    served().into_iter().chain(deeds.map(|(what, which)| Step::One(Deed::of(what, which)))).collect()
}

fn deed() -> impl Strategy<Value = Deed> {
    let what = prop_oneof![
        5 => Just(What::Ask),
        8 => Just(What::Approve),
        1 => Just(What::Deny),
        1 => Just(What::Withdraw),
        4 => Just(What::Claim),
        5 => Just(What::Connect),
        1 => Just(What::Leave),
        1 => Just(What::Kill),
        1 => Just(What::Revoke),
        2 => Just(What::Extend),
        6 => Just(What::Send),
        6 => Just(What::Review),
        6 => Just(What::Run),
        1 => Just(What::GiveUp),
        1 => Just(What::TakeBack),
        3 => Just(What::Sweep),
    ];
    let role = select(vec![Role::Open, Role::Read, Role::Write]);
    let for_whom = prop_oneof![1 => Just(None), 1 => select(Who::ALL.to_vec()).prop_map(Some)];
    let less = prop_oneof![2 => Just(None), 1 => (1..20u64).prop_map(Some)];
    let text = select(vec![Text::Purge, Text::PurgeOther, Text::Close]);
    let proposal = (prop_oneof![Just(None), (1..4u64).prop_map(Some)], any::<bool>(), any::<bool>());
    let proposal =
        proposal.prop_map(|(max_rows, for_grant, free)| Proposal { max_rows, for_grant, free: free && for_grant });
    let vote = prop_oneof![1 => Just(None), 6 => proposal.prop_map(Some)];
    let deed = (what, select(Who::ALL.to_vec()), role, for_whom, 1..20u64, less, text, vote, any::<u8>());
    deed.prop_map(|(what, by, role, for_whom, minutes, less, text, vote, which)| Deed {
        what,
        by,
        role,
        for_whom,
        minutes,
        less,
        text,
        vote,
        which,
    })
}

impl Deed {
    /// What an agent does for itself, and a reviewer with it.
    fn of(what: What, which: u8) -> Self {
        let vote = Some(Proposal { max_rows: None, for_grant: false, free: false });
        let (by, role, text) = (Who::Dba1, Role::Open, Text::Purge);
        Self { what, by, role, for_whom: None, minutes: 150, less: None, text, vote, which }
    }

    /// What it is in this world; none, where there is nothing to do it to.
    fn action(&self, model: &Model) -> Option<Action> {
        let by = self.by;
        let recent = |keys: Vec<Key>| keys.iter().rev().nth(usize::from(self.which) % keys.len().clamp(1, 3)).copied();
        let request = || recent(model.requests.keys().copied().collect());
        let grant = || recent(model.grants.keys().copied().collect());
        let session = || recent(model.sessions.keys().copied().collect());
        let review = || recent(model.reviews.keys().copied().collect());
        Some(match self.what {
            What::Ask => {
                // An agent, most of the time.
                let by = if self.which.is_multiple_of(4) { by } else { Who::Agent };
                Action::Ask { by, role: self.role, for_whom: self.for_whom, minutes: self.minutes }
            }
            What::Approve => {
                let request = request()?;
                let Request { by, for_whom, .. } = model.requests[&request];
                Action::Approve { by: self.reviewer(by, for_whom), request, minutes: self.less }
            }
            What::Deny => {
                let request = request()?;
                let Request { by, for_whom, .. } = model.requests[&request];
                Action::Deny { by: self.reviewer(by, for_whom), request }
            }
            What::Withdraw => {
                let request = request()?;
                Action::Withdraw { by: self.mostly(model, request), request }
            }
            What::Claim => {
                let grant = grant()?;
                Action::Claim { by: self.mostly(model, grant), grant }
            }
            What::Connect => Action::Connect { grant: grant()? },
            What::Leave => Action::Leave { session: session()? },
            What::Kill => {
                let session = session()?;
                Action::Kill { by: self.mostly(model, model.sessions[&session].grant), session }
            }
            What::Revoke => {
                let grant = grant()?;
                Action::Revoke { by: self.mostly(model, grant), grant }
            }
            What::Extend => {
                let grant = grant()?;
                Action::Extend { by: self.mostly(model, grant), grant, minutes: self.minutes }
            }
            What::Send => Action::Send { session: session()?, text: self.text },
            What::Review => {
                let review = review()?;
                let Review { by, for_whom, .. } = model.reviews[&review];
                Action::Review { by: self.reviewer(by, for_whom), review, vote: self.vote }
            }
            What::Run => {
                let session = session()?;
                // What it waits for, most of the time.
                let awaited = model.waits.get(&session).copied().filter(|_| !self.which.is_multiple_of(4));
                let (review, text) =
                    awaited.or_else(|| review().map(|review| (review, model.reviews[&review].text)))?;
                Action::Run { session, review, text }
            }
            What::GiveUp => {
                let session = session()?;
                Action::GiveUp { session, review: model.waits.get(&session)?.0, ticket: self.which.is_multiple_of(2) }
            }
            What::TakeBack => {
                let review = review()?;
                let by = if self.which.is_multiple_of(4) { by } else { model.reviews[&review].by };
                Action::TakeBack { by, review }
            }
            What::Sweep => {
                [Action::SweepRequests, Action::SweepGrants, Action::SweepReviews][usize::from(self.which) % 3]
            }
        })
    }

    /// Anybody, and now and then somebody who has their own part in it.
    fn reviewer(&self, asks: Who, for_whom: Option<Who>) -> Who {
        match self.which % 8 {
            0 => asks,
            1 => for_whom.unwrap_or(self.by),
            _ => self.by,
        }
    }

    /// Whoever asked, most of the time.
    fn mostly(&self, model: &Model, request: Key) -> Who {
        if self.which.is_multiple_of(4) { self.by } else { model.requests[&request].by }
    }
}

/// What was done at a moment, and what there was afterwards.
pub struct Moment {
    now: u64,
    done: Vec<(Key, Action, Outcome)>,
    seen: Seen,
}

/// Takes a step in the real world; none, where nothing happens.
pub async fn take(plane: &Plane<'_>, model: &mut Model, number: usize, step: &Step) -> Result<Option<Moment>, String> {
    // Both of two at once have a key of their own.
    let (now, keys) = (model.now, [2 * number, 2 * number + 1]);
    let done = match step {
        Step::Wait(seconds) => {
            model.now += seconds;
            Vec::new()
        }
        Step::Restart => {
            plane.restart(number).await;
            Vec::new()
        }
        Step::One(deed) => {
            let Some(action) = deed.action(model) else { return Ok(None) };
            vec![(keys[0], action, plane.act(number, keys[0], action, now).await?)]
        }
        Step::AtOnce(one, other) => {
            let (Some(one), Some(other)) = (one.action(model), other.action(model)) else { return Ok(None) };
            if let (Action::Send { session: one, .. }, Action::Send { session: other, .. }) = (one, other)
                && one == other
            {
                // A session sends one after the other.
                return Ok(None);
            }
            let done = tokio::join!(plane.act(0, keys[0], one, now), plane.act(1, keys[1], other, now));
            vec![(keys[0], one, done.0?), (keys[1], other, done.1?)]
        }
    };
    Ok(Some(Moment { now: model.now, done, seen: plane.seen(number, model.now).await }))
}

impl Moment {
    /// Takes a model to this moment. What comes of two at once has to be what comes of one after the other.
    ///
    /// # Errors
    /// How it differs.
    pub fn told(&self, model: &mut Model) -> Result<(), String> {
        model.now = self.now;
        let in_order = |done: Vec<&(Key, Action, Outcome)>| {
            let mut after = model.clone();
            let as_it_may = done.into_iter().all(|(key, action, was_done)| after.act(*key, *action) == *was_done);
            (as_it_may && after.seen() == self.seen).then_some(after)
        };
        let found = in_order(self.done.iter().collect()).or_else(|| in_order(self.done.iter().rev().collect()));
        match found {
            Some(after) => *model = after,
            None => return Err(format!("{:?}, and there is {:#?} after {model:#?}", self.done, self.seen)),
        }
        Ok(())
    }
}
