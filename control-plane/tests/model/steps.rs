//! What happens in a story.

use crate::{
    plane::Plane,
    reference::{Action, Key, Model, Role, Who},
};
use postern_fuzz::proptest::{
    collection::vec,
    prelude::{Just, any},
    prop_oneof,
    sample::select,
    strategy::Strategy,
};

/// A story has at most so many.
const STEPS: usize = 40;

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
    Sweep,
}

pub fn story() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => deed().prop_map(Step::One),
        5 => (deed(), deed()).prop_map(|(one, other)| Step::AtOnce(one, other)),
        3 => prop_oneof![1..60u64, 60..1_200u64, 1_800..4_000u64].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..STEPS)
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
        2 => Just(What::Sweep),
    ];
    let role = select(vec![Role::Open, Role::Read, Role::Write]);
    let for_whom = prop_oneof![2 => Just(None), 1 => select(Who::ALL.to_vec()).prop_map(Some)];
    let less = prop_oneof![2 => Just(None), 1 => (1..20u64).prop_map(Some)];
    let deed = (what, select(Who::ALL.to_vec()), role, for_whom, 1..20u64, less, any::<u8>());
    deed.prop_map(|(what, by, role, for_whom, minutes, less, which)| Deed {
        what,
        by,
        role,
        for_whom,
        minutes,
        less,
        which,
    })
}

impl Deed {
    /// What it is in this world; none, where there is nothing to do it to.
    fn action(&self, model: &Model) -> Option<Action> {
        let by = self.by;
        let recent = |keys: Vec<Key>| keys.iter().rev().nth(usize::from(self.which) % keys.len().clamp(1, 3)).copied();
        let request = || recent(model.requests.keys().copied().collect());
        let grant = || recent(model.grants.keys().copied().collect());
        let session = || recent(model.sessions.keys().copied().collect());
        Some(match self.what {
            What::Ask => Action::Ask { by, role: self.role, for_whom: self.for_whom, minutes: self.minutes },
            What::Approve => Action::Approve { by, request: request()?, minutes: self.less },
            What::Deny => Action::Deny { by, request: request()? },
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
            What::Sweep => Action::Sweep,
        })
    }

    /// Whoever asked, most of the time.
    fn mostly(&self, model: &Model, request: Key) -> Who {
        if self.which.is_multiple_of(4) { self.by } else { model.requests[&request].by }
    }
}

/// Takes a step in both worlds.
pub async fn take(plane: &Plane<'_>, model: &mut Model, step: (usize, &Step)) -> Result<(), String> {
    let (number, step) = step;
    // Both of two at once have a key of their own.
    let key = 2 * number;
    match step {
        Step::Wait(seconds) => model.now += seconds,
        Step::Restart => plane.restart(number).await,
        Step::One(deed) => {
            let Some(action) = deed.action(model) else { return Ok(()) };
            let done = plane.act(number, key, action, model.now).await?;
            let may = model.act(key, action);
            if done != may {
                return Err(format!("{action:?} was done: {done}; it may be: {may}; {model:#?}"));
            }
        }
        Step::AtOnce(one, other) => {
            let (Some(one), Some(other)) = (one.action(model), other.action(model)) else { return Ok(()) };
            return at_once(plane, model, number, [one, other]).await;
        }
    }
    let (seen, expected) = (plane.seen(number, model.now).await, model.seen());
    if seen == expected { Ok(()) } else { Err(format!("there is {seen:#?} and not {expected:#?}")) }
}

/// What comes of two at once has to be what comes of one after the other.
async fn at_once(plane: &Plane<'_>, model: &mut Model, number: usize, actions: [Action; 2]) -> Result<(), String> {
    let ([one, other], now, keys) = (actions, model.now, [2 * number, 2 * number + 1]);
    let done = tokio::join!(plane.act(0, keys[0], one, now), plane.act(1, keys[1], other, now));
    let (done, seen) = ((done.0?, done.1?), plane.seen(number, now).await);
    let in_order = |first_is_one: bool| {
        let mut after = model.clone();
        let may = if first_is_one {
            let first = after.act(keys[0], one);
            (first, after.act(keys[1], other))
        } else {
            let first = after.act(keys[1], other);
            (after.act(keys[0], one), first)
        };
        (may == done && after.seen() == seen).then_some(after)
    };
    match in_order(true).or_else(|| in_order(false)) {
        Some(after) => {
            *model = after;
            Ok(())
        }
        None => {
            Err(format!("{one:?} and {other:?} at once were done: {done:?}, and there is {seen:#?} after {model:#?}"))
        }
    }
}
