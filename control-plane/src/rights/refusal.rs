//! What somebody is told who may not: what right is missing, and who has it.

use super::{Action, Resource};
use crate::{identity::Actor, problem::Problem};
use postern_api::identity::PrincipalKind;

/// `forbids`: the policies that forbid it; none, where none permits it.
pub(super) fn of(actor: &Actor, action: Action, resource: &Resource<'_>, forbids: &[String]) -> Problem {
    let is_forbidden_by = |policy: &str| forbids.iter().any(|name| name == policy);
    if is_forbidden_by("directory-alone") {
        return Problem::forbidden("a token for SCIM is good for SCIM alone");
    }
    if is_forbidden_by("narrowed") {
        return Problem::forbidden("your token is narrowed to some access roles: it is for getting access alone")
            .hint("`postern whoami` shows what it is narrowed to");
    }
    let is_user = actor.principal.kind == PrincipalKind::User;
    match (action, resource) {
        (Action::Approve | Action::Deny, Resource::Request { reviewer_groups, .. }) => {
            if !is_user {
                Problem::forbidden("an agent cannot review requests")
                    .hint("a person has to: `postern approve ID` with a reviewer's token")
            } else if is_forbidden_by("request-own") {
                Problem::forbidden(
                    "nobody reviews a request that is their own, was made for them or by an agent of theirs",
                )
                .hint(who_reviews(reviewer_groups))
            } else {
                Problem::forbidden("you are not a reviewer of this request").hint(who_reviews(reviewer_groups))
            }
        }
        (Action::Approve | Action::Deny, Resource::Review { reviewer_groups, .. }) => {
            if !is_user {
                Problem::forbidden("an agent cannot answer reviews")
                    .hint("a person has to: `postern approve ID` with a reviewer's token")
            } else if is_forbidden_by("review-own") {
                Problem::forbidden("nobody answers a review of a statement that is their own, was sent for them or by an agent of theirs")
                    .hint(who_reviews(reviewer_groups))
            } else {
                Problem::forbidden("you are not a reviewer of this statement").hint(who_reviews(reviewer_groups))
            }
        }
        (Action::Withdraw, Resource::Review { .. }) => {
            Problem::forbidden("only whoever sent the statement takes it back")
                .hint("deny it: `postern deny ID --reason …`")
        }
        (Action::Withdraw, Resource::Request { .. }) => Problem::forbidden("only the requester withdraws a request"),
        (Action::Claim, _) => Problem::forbidden("only the principal of a grant gets its secret"),
        (Action::Close, Resource::Request { reviewer_groups, .. }) => {
            if is_forbidden_by("request-own") {
                Problem::forbidden("nobody closes the review of what is their own").hint(who_reviews(reviewer_groups))
            } else {
                Problem::forbidden("you are not a reviewer of this request").hint(who_reviews(reviewer_groups))
            }
        }
        (Action::Comment, Resource::Request { .. }) => {
            Problem::forbidden("only those whom a request is about, its reviewers and admins comment on it")
        }
        (Action::End, Resource::Request { .. }) => {
            Problem::forbidden("only those whom a standing approval is for, its reviewers and admins end it")
        }
        (Action::Extend, _) => Problem::forbidden("only the principal of a grant asks for more time"),
        (Action::Create, Resource::Stop { .. }) => {
            Problem::forbidden("only an admin, or the user who answers for an agent, stops it")
        }
        (Action::BreakGlass, Resource::AccessRole { break_glass, .. }) => {
            let problem = Problem::forbidden("you are not among those who get this role in an emergency");
            match break_glass {
                [] => problem.hint("it has nobody of that kind; ask without `--break-glass`"),
                groups => problem.hint(format!("only users in {} are; ask without `--break-glass`", groups.join(", "))),
            }
        }
        (Action::Create, Resource::AccessRole { groups, .. }) => {
            Problem::forbidden(format!("only members of {} may ask for this role", groups.join(", ")))
                .hint("`postern connections` lists what you can ask for")
        }
        (_, Resource::Reach { .. }) => Problem::forbidden(
            "only admins and auditors, and of an agent the user who answers for it, see what others can reach",
        )
        .hint("`postern whoami --on CONN` shows what you can"),
        (Action::Create, Resource::Token { .. }) if !is_user => Problem::forbidden("an agent cannot make tokens"),
        (Action::Create, Resource::Token { .. }) => no_token_for_others(),
        (Action::See, Resource::Policies) => Problem::forbidden("only admins and auditors read policies"),
        (_, Resource::Directory) => Problem::forbidden("only a directory says over SCIM who there is")
            .hint("an admin makes its token: `postern tokens create --for agent:NAME --may scim`"),
        (_, Resource::Scan) => Problem::forbidden("only an admin scans a connection"),
        (_, Resource::WholeAudit) => Problem::forbidden("only auditors and admins read everybody's audit"),
        _ => Problem::forbidden("only an admin may do this"),
    }
}

/// What those are told who may not make somebody's token, whether there is somebody of that name or not.
pub(crate) fn no_token_for_others() -> Problem {
    Problem::forbidden("only an admin, or the user who answers for an agent, makes tokens for others")
}

fn who_reviews(groups: &[String]) -> String {
    if groups.is_empty() {
        "an admin has to".to_owned()
    } else {
        format!("another member of {} has to", groups.join(", "))
    }
}
