//! Whether enough of the right people agree. Pure: who they are and which groups they are in is what the caller says.

use crate::{identity::Actor, rights::is_reviewer};
use postern_api::quorum::{Need, Quorum, QuorumMode};
use std::collections::HashSet;

/// Where a quorum stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Enough agree.
    Met,
    /// What is still needed. Of a quorum of which any need is enough: what each still needs.
    Missing(Vec<Need>),
}

/// Where a quorum stands when these agree. Each counts once, and for one need; whoever is in several groups counts where
/// it helps. A quorum that asks for nobody is met by nobody: what needs no consent is decided elsewhere.
#[must_use]
pub fn standing(quorum: &Quorum, agree: &[Actor]) -> Standing {
    let mut seen = HashSet::new();
    let agree: Vec<_> = agree.iter().filter(|actor| seen.insert(&actor.principal.id)).collect();
    let needs: Vec<_> = quorum.needs.iter().filter(|need| need.count > 0).collect();
    let met = match quorum.mode {
        QuorumMode::All => fill(&needs, &agree),
        QuorumMode::Any => {
            needs.iter().map(|need| agree.iter().filter(|actor| is_reviewer(actor, &need.groups)).count()).collect()
        }
    };
    let missing: Vec<_> = needs
        .iter()
        .zip(met)
        .map(|(need, met)| {
            let count = need.count.saturating_sub(u32::try_from(met).unwrap_or(u32::MAX));
            Need { groups: need.groups.clone(), count }
        })
        .collect();
    let is_met = match quorum.mode {
        QuorumMode::All => !missing.is_empty() && missing.iter().all(|need| need.count == 0),
        QuorumMode::Any => missing.iter().any(|need| need.count == 0),
    };
    if is_met { Standing::Met } else { Standing::Missing(missing.into_iter().filter(|need| need.count > 0).collect()) }
}

/// All groups whose members have a say, for [`crate::rights`]. None: admins.
#[must_use]
pub fn groups(quorum: &Quorum) -> Vec<String> {
    let mut groups: Vec<_> = quorum.needs.iter().flat_map(|need| need.groups.iter().cloned()).collect();
    groups.sort();
    groups.dedup();
    groups
}

/// How many have to agree, at least.
#[must_use]
pub fn least(quorum: &Quorum) -> u32 {
    let counts = quorum.needs.iter().map(|need| need.count);
    match quorum.mode {
        QuorumMode::All => counts.fold(0, u32::saturating_add),
        QuorumMode::Any => counts.min().unwrap_or(0),
    }
}

/// How many of them count for each need, when as many as possible count: a matching, one person after the other by an
/// augmenting path.
fn fill(needs: &[&Need], agree: &[&Actor]) -> Vec<usize> {
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for person in 0..agree.len() {
        place(person, needs, agree, &mut places, &mut HashSet::new());
    }
    places.iter().map(Vec::len).collect()
}

/// Finds a place for a person, moving others where that makes room.
fn place(
    person: usize,
    needs: &[&Need],
    agree: &[&Actor],
    places: &mut [Vec<usize>],
    tried: &mut HashSet<usize>,
) -> bool {
    let Some(actor) = agree.get(person) else { return false };
    for (index, need) in needs.iter().enumerate() {
        if !is_reviewer(actor, &need.groups) || !tried.insert(index) {
            continue;
        }
        let Some(taken) = places.get(index).cloned() else { continue };
        if taken.len() < usize::try_from(need.count).unwrap_or(usize::MAX) {
            places.get_mut(index).into_iter().for_each(|taken| taken.push(person));
            return true;
        }
        for other in taken {
            if place(other, needs, agree, places, tried) {
                if let Some(taken) = places.get_mut(index) {
                    taken.retain(|&who| who != other);
                    taken.push(person);
                }
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
#[path = "quorum_tests.rs"]
mod tests;
