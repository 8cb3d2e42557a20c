//! Examples, and a comparison with trying out every way in which people could count.

use super::*;
use postern_api::identity::{PrincipalKind, PrincipalRef};
use postern_fuzz::{
    proptest::{
        collection::vec,
        prelude::*,
        sample::{select, subsequence},
    },
    target,
};
use postern_types::id::PrincipalId;

fn person(groups: &[&str]) -> Actor {
    Actor {
        principal: PrincipalRef { kind: PrincipalKind::User, id: PrincipalId::new(), name: "x".to_owned() },
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        admin: false,
        auditor: false,
        may: None,
        on_behalf_of: None,
        must_prove: false,
        machine: Default::default(),
        signed_in: None,
    }
}

fn need(groups: &[&str], count: u32) -> Need {
    Need { groups: groups.iter().map(|&group| group.to_owned()).collect(), count }
}

fn all(needs: &[Need]) -> Quorum {
    Quorum { mode: QuorumMode::All, needs: needs.to_vec() }
}

fn any(needs: &[Need]) -> Quorum {
    Quorum { mode: QuorumMode::Any, needs: needs.to_vec() }
}

fn missing(needs: &[Need]) -> Standing {
    Standing::Missing(needs.to_vec())
}

#[test]
fn thresholds_are_exact() {
    let (dba, security) = (need(&["dba"], 2), need(&["security"], 1));
    let [one, two, three] = [person(&["dba"]), person(&["dba"]), person(&["security"])];
    let both = all(&[dba.clone(), security.clone()]);
    assert_eq!(standing(&both, &[]), missing(&[dba, security.clone()]));
    assert_eq!(standing(&both, &[one.clone(), two.clone()]), missing(std::slice::from_ref(&security)));
    assert_eq!(standing(&both, &[one.clone(), three.clone()]), missing(&[need(&["dba"], 1)]));
    assert_eq!(standing(&both, &[one.clone(), two.clone(), three.clone()]), Standing::Met);
    let either = any(&both.needs);
    assert_eq!(standing(&either, std::slice::from_ref(&one)), missing(&[need(&["dba"], 1), security]));
    assert_eq!(standing(&either, &[three]), Standing::Met);
    assert_eq!(standing(&either, &[one, two]), Standing::Met);
}

#[test]
fn one_counts_once_and_for_one_need() {
    let both = all(&[need(&["dba"], 1), need(&["security"], 1)]);
    let (everywhere, dba) = (person(&["dba", "security"]), person(&["dba"]));
    let twice = [everywhere.clone(), everywhere.clone()];
    assert_eq!(standing(&both, &twice), missing(&[need(&["security"], 1)]));
    // Whoever came first takes no place from whoever has no other.
    assert_eq!(standing(&both, &[everywhere.clone(), dba.clone()]), Standing::Met);
    assert_eq!(standing(&both, &[dba, everywhere]), Standing::Met);
    // Two of a group twice are four people.
    let four = all(&[need(&["dba"], 2), need(&["dba"], 2)]);
    let people: Vec<_> = (0..4).map(|_| person(&["dba"])).collect();
    assert_eq!(standing(&four, &people[..3]), missing(&[need(&["dba"], 1)]));
    assert_eq!(standing(&four, &people), Standing::Met);
}

#[test]
fn admins_where_no_group_is_named_and_never_an_agent() {
    let one = all(&[need(&[], 1)]);
    let admin = Actor { admin: true, ..person(&[]) };
    assert_eq!(standing(&one, &[person(&["dba"])]), missing(&[need(&[], 1)]));
    assert_eq!(standing(&one, std::slice::from_ref(&admin)), Standing::Met);
    let dba = all(&[need(&["dba"], 1)]);
    let mut agent = person(&["dba"]);
    assert_eq!(standing(&dba, std::slice::from_ref(&agent)), Standing::Met);
    agent.principal.kind = PrincipalKind::Agent;
    assert_eq!(standing(&dba, &[agent, admin]), missing(&[need(&["dba"], 1)]));
}

#[test]
fn what_asks_for_nobody_is_met_by_nobody() {
    for quorum in [all(&[]), any(&[]), all(&[need(&["dba"], 0)]), any(&[need(&["dba"], 0)])] {
        assert_eq!(standing(&quorum, &[person(&["dba"])]), missing(&[]));
    }
    let with_nothing = any(&[need(&["dba"], 0), need(&["security"], 1)]);
    assert_eq!(standing(&with_nothing, &[person(&["dba"])]), missing(&[need(&["security"], 1)]));
}

/// Whether there is a way for everybody to count for one need or none, so that enough count.
fn is_met(quorum: &Quorum, agree: &[Actor]) -> bool {
    fn can(needs: &mut [Need], agree: &[Actor]) -> bool {
        if needs.iter().all(|need| need.count == 0) {
            return true;
        }
        let Some((actor, rest)) = agree.split_first() else { return false };
        for index in 0..needs.len() {
            if needs[index].count > 0 && needs[index].groups.iter().any(|group| actor.groups.contains(group)) {
                needs[index].count -= 1;
                let met = can(needs, rest);
                needs[index].count += 1;
                if met {
                    return true;
                }
            }
        }
        can(needs, rest)
    }
    match quorum.mode {
        QuorumMode::All => can(&mut quorum.needs.clone(), agree),
        QuorumMode::Any => quorum.needs.iter().any(|need| can(&mut [need.clone()], agree)),
    }
}

const GROUPS: [&str; 3] = ["a", "b", "c"];

fn quorums() -> impl Strategy<Value = Quorum> {
    let need = (subsequence(GROUPS.to_vec(), 1..3), 1u32..3).prop_map(|(groups, count)| need(&groups, count));
    (select(vec![QuorumMode::All, QuorumMode::Any]), vec(need, 1..4)).prop_map(|(mode, needs)| Quorum { mode, needs })
}

fn people() -> impl Strategy<Value = Vec<Actor>> {
    vec(subsequence(GROUPS.to_vec(), 0..=3).prop_map(|groups| person(&groups)), 0..7)
}

target!(fuzz_as_if_every_way_was_tried, (quorums(), people()), |(quorum, agree)| {
    let stands = standing(&quorum, &agree);
    prop_assert_eq!(stands == Standing::Met, is_met(&quorum, &agree));
    // Whoever speaks twice adds nothing.
    let twice: Vec<_> = agree.iter().chain(&agree).cloned().collect();
    prop_assert_eq!(&standing(&quorum, &twice), &stands);
    let Standing::Missing(left) = stands else { return Ok(()) };
    // With exactly those who are said to be missing it is met; with one less of them, not.
    let fewest = left.iter().min_by_key(|need| need.count).cloned();
    let left = if quorum.mode == QuorumMode::Any { fewest.into_iter().collect() } else { left };
    let mut with = agree;
    for need in &left {
        for _ in 0..need.count {
            prop_assert!(standing(&quorum, &with) != Standing::Met);
            with.push(person(&[need.groups[0].as_str()]));
        }
    }
    prop_assert_eq!(standing(&quorum, &with), Standing::Met);
    Ok(())
});
