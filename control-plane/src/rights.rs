//! Who may do what: all of it, in one function. Everything that acts for somebody asks here first.

use crate::{identity::Actor, problem::Problem};
use postern_api::{
    document::AccessRole,
    identity::{PrincipalKind, PrincipalRef},
};

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Know of it and read it.
    See,
    /// Make one.
    Create,
    /// Say yes to it.
    Approve,
    /// Say no to it.
    Deny,
    /// Take it back.
    Withdraw,
    /// Get its secret.
    Claim,
    /// End it.
    End,
    /// Remove it.
    Delete,
    /// Change it.
    Change,
    /// Say something about it.
    Comment,
    /// Say that it was looked at, afterwards.
    Close,
    /// Ask that it lasts longer.
    Extend,
    /// Have it at once, in an emergency.
    BreakGlass,
}

impl Action {
    /// All actions, for the test that tries each on each resource.
    pub const ALL: [Self; 13] = [
        Self::See,
        Self::Create,
        Self::Approve,
        Self::Deny,
        Self::Withdraw,
        Self::Claim,
        Self::End,
        Self::Delete,
        Self::Change,
        Self::Comment,
        Self::Close,
        Self::Extend,
        Self::BreakGlass,
    ];
}

/// To what, with the facts that decide.
#[derive(Clone, Debug)]
pub enum Resource<'a> {
    /// A request for access.
    Request {
        /// Who asks.
        requester: &'a PrincipalRef,
        /// For whom.
        on_behalf_of: Option<&'a PrincipalRef>,
        /// The groups that review; empty: admins.
        reviewer_groups: &'a [String],
    },
    /// A statement that waits for people.
    Review {
        /// Who asks.
        principal: &'a PrincipalRef,
        /// For whom.
        on_behalf_of: Option<&'a PrincipalRef>,
        /// The groups whose members may answer.
        reviewer_groups: &'a [String],
    },
    /// A grant.
    Grant {
        /// Who has it.
        principal: &'a PrincipalRef,
        /// For whom.
        on_behalf_of: Option<&'a PrincipalRef>,
    },
    /// A client's session.
    Session {
        /// Who opened it.
        principal: &'a PrincipalRef,
        /// For whom.
        on_behalf_of: Option<&'a PrincipalRef>,
    },
    /// An access role of a connection: `Create` is to ask for it.
    AccessRole {
        /// Who may ask; empty: everybody.
        groups: &'a [String],
        /// Who gets it at once in an emergency; empty: nobody.
        break_glass: &'a [String],
    },
    /// The grants of everybody on a connection.
    AllGrants,
    /// That a principal gets no access any more.
    Stop {
        /// The name of the user who answers for it, if it is an agent that has one.
        owner: Option<&'a str>,
    },
    /// What a principal can reach; with nobody in particular: what everybody can.
    Reach {
        /// Who.
        principal: Option<&'a PrincipalRef>,
        /// The name of the user who answers for it, if it is an agent that has one.
        owner: Option<&'a str>,
    },
    /// An API token.
    Token {
        /// Whose.
        owner: &'a PrincipalRef,
    },
    /// Connections, users, agents and groups as they are configured.
    Configuration,
    /// A database's password that is kept here. There is no action by which it could be read.
    DatabaseCredential,
    /// Policies, in force for everybody.
    Policies,
    /// That nobody changes anything on a connection.
    Freeze,
    /// What the columns of a connection hold: `Create` is to have samples of their values looked at.
    Scan,
    /// Users and groups of a directory, over SCIM.
    Directory,
    /// Connectors, gateways and their join tokens.
    Fleet,
    /// What everybody did.
    WholeAudit,
    /// What the caller did, and what was done for them.
    OwnAudit,
}

/// Whether the actor may. Agents never approve or deny; nobody decides on a request that is their own or made
/// for them; being an admin opens no database by itself.
///
/// # Errors
/// When the actor may not: the error says so in words for them.
pub fn authorize(actor: &Actor, action: Action, resource: &Resource<'_>) -> Result<(), Problem> {
    if is_allowed(actor, action, resource) {
        return Ok(());
    }
    Err(refusal(actor, action, resource))
}

/// The rule itself.
#[must_use]
pub fn is_allowed(actor: &Actor, action: Action, resource: &Resource<'_>) -> bool {
    // A directory says who there is, and does nothing else; nobody else does.
    if actor.is_directory() || matches!(resource, Resource::Directory) {
        let says = matches!(action, Action::See | Action::Create | Action::Change | Action::Delete);
        return says && actor.is_directory() && matches!(resource, Resource::Directory);
    }
    // A narrowed token is for getting access and giving it back, whoever has it.
    if actor.may.is_some() && !is_about_access(action, resource) {
        return false;
    }
    match resource {
        Resource::Request { requester, on_behalf_of, reviewer_groups } => {
            let concerned = is_concerned(actor, requester, *on_behalf_of);
            let reviewer = is_reviewer(actor, reviewer_groups);
            match action {
                Action::See => concerned || reviewer || actor.admin || actor.auditor,
                Action::Approve | Action::Deny => reviewer && !concerned,
                Action::Withdraw => is_same(actor, requester),
                Action::Comment => concerned || reviewer || actor.admin,
                // What was given without being asked for somebody else has to look at.
                Action::Close => reviewer && !concerned,
                Action::End => concerned || reviewer || actor.admin,
                _ => false,
            }
        }
        Resource::Review { principal, on_behalf_of, reviewer_groups } => {
            let concerned = is_concerned(actor, principal, *on_behalf_of);
            let reviewer = is_user(actor) && actor.is_in_any(reviewer_groups);
            match action {
                Action::See => concerned || reviewer || actor.admin || actor.auditor,
                Action::Approve | Action::Deny => reviewer && !concerned,
                Action::Withdraw => is_same(actor, principal),
                _ => false,
            }
        }
        Resource::Grant { principal, on_behalf_of } => match action {
            Action::See => is_concerned(actor, principal, *on_behalf_of) || actor.admin || actor.auditor,
            Action::End => is_concerned(actor, principal, *on_behalf_of) || actor.admin,
            // The secret acts as its principal, so that nobody else gets it.
            Action::Claim | Action::Extend => is_same(actor, principal),
            _ => false,
        },
        Resource::Session { principal, on_behalf_of } => match action {
            Action::See => is_concerned(actor, principal, *on_behalf_of) || actor.admin || actor.auditor,
            Action::End => is_concerned(actor, principal, *on_behalf_of) || actor.admin,
            _ => false,
        },
        Resource::AccessRole { groups, break_glass } => match action {
            Action::See => may_ask(actor, groups) || breaks_glass(actor, break_glass) || actor.admin,
            Action::Create => may_ask(actor, groups),
            Action::BreakGlass => breaks_glass(actor, break_glass),
            _ => false,
        },
        Resource::AllGrants => action == Action::End && actor.admin,
        Resource::Stop { owner } => match action {
            Action::Create => actor.admin || answers_for(actor, *owner),
            // An admin may have stopped it.
            Action::End => actor.admin,
            _ => false,
        },
        // Whoever judges what was done, or answers for an agent, has to know what it could do.
        Resource::Reach { principal, owner } => {
            let own = principal.is_some_and(|principal| is_same(actor, principal)) || answers_for(actor, *owner);
            action == Action::See && (actor.admin || actor.auditor || own)
        }
        Resource::Token { owner } => match action {
            Action::See | Action::Delete => is_same(actor, owner) || actor.admin,
            // An agent could otherwise outlive the token that it was given.
            Action::Create => actor.admin || (is_user(actor) && is_same(actor, owner)),
            _ => false,
        },
        Resource::Configuration | Resource::Fleet => match action {
            Action::See | Action::Create | Action::Change | Action::Delete | Action::End => actor.admin,
            _ => false,
        },
        Resource::DatabaseCredential => matches!(action, Action::See | Action::Change | Action::Delete) && actor.admin,
        // Who judges what was done has to know what was permitted.
        Resource::Policies => match action {
            Action::See => actor.admin || actor.auditor,
            Action::Change => actor.admin,
            _ => false,
        },
        Resource::Freeze => matches!(action, Action::Create | Action::End) && actor.admin,
        Resource::Scan => action == Action::Create && actor.admin,
        Resource::WholeAudit => action == Action::See && (actor.admin || actor.auditor),
        Resource::OwnAudit => action == Action::See,
        // Decided above.
        Resource::Directory => false,
    }
}

fn is_about_access(action: Action, resource: &Resource<'_>) -> bool {
    match resource {
        Resource::Request { .. } | Resource::Review { .. } => matches!(action, Action::See | Action::Withdraw),
        Resource::Grant { .. } | Resource::Session { .. } => {
            matches!(action, Action::See | Action::End | Action::Claim)
        }
        Resource::AccessRole { .. } | Resource::OwnAudit => true,
        _ => false,
    }
}

/// Whether the actor reviews for these groups: its members, or admins where there are none.
#[must_use]
pub fn is_reviewer(actor: &Actor, groups: &[String]) -> bool {
    is_user(actor) && if groups.is_empty() { actor.admin } else { actor.is_in_any(groups) }
}

fn may_ask(actor: &Actor, groups: &[String]) -> bool {
    groups.is_empty() || actor.is_in_any(groups)
}

/// An emergency is a person's: an agent that is in such a group waits for somebody as ever.
fn breaks_glass(actor: &Actor, groups: &[String]) -> bool {
    is_user(actor) && actor.is_in_any(groups)
}

/// An access role, for deciding who may do what with it.
#[must_use]
pub fn role(role: &AccessRole) -> Resource<'_> {
    let break_glass = role.break_glass.as_ref().map_or(&[] as &[String], |named| &named.groups);
    Resource::AccessRole { groups: &role.groups, break_glass }
}

fn is_user(actor: &Actor) -> bool {
    actor.principal.kind == PrincipalKind::User
}

fn is_same(actor: &Actor, principal: &PrincipalRef) -> bool {
    actor.principal.id == principal.id
}

/// Whether the actor is the user of that name, who answers for an agent.
fn answers_for(actor: &Actor, owner: Option<&str>) -> bool {
    is_user(actor) && owner == Some(actor.principal.name.as_str())
}

fn is_concerned(actor: &Actor, principal: &PrincipalRef, on_behalf_of: Option<&PrincipalRef>) -> bool {
    is_same(actor, principal) || on_behalf_of.is_some_and(|user| is_same(actor, user))
}

fn refusal(actor: &Actor, action: Action, resource: &Resource<'_>) -> Problem {
    if actor.is_directory() {
        return Problem::forbidden("a token for SCIM is good for SCIM alone");
    }
    if actor.may.is_some() && !is_about_access(action, resource) {
        return Problem::forbidden("your token is narrowed to some access roles: it is for getting access alone")
            .hint("`postern whoami` shows what it is narrowed to");
    }
    match (action, resource) {
        (Action::Approve | Action::Deny, Resource::Request { requester, on_behalf_of, reviewer_groups }) => {
            if !is_user(actor) {
                Problem::forbidden("an agent cannot review requests")
                    .hint("a person has to: `postern approve ID` with a reviewer's token")
            } else if is_concerned(actor, requester, *on_behalf_of) {
                Problem::forbidden("nobody reviews a request that is their own or was made for them")
                    .hint(who_reviews(reviewer_groups))
            } else {
                Problem::forbidden("you are not a reviewer of this request").hint(who_reviews(reviewer_groups))
            }
        }
        (Action::Approve | Action::Deny, Resource::Review { principal, on_behalf_of, reviewer_groups }) => {
            if !is_user(actor) {
                Problem::forbidden("an agent cannot answer reviews")
                    .hint("a person has to: `postern approve ID` with a reviewer's token")
            } else if is_concerned(actor, principal, *on_behalf_of) {
                Problem::forbidden("nobody answers a review of a statement that is their own or sent for them")
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
        (Action::Close, Resource::Request { requester, on_behalf_of, reviewer_groups }) => {
            if is_concerned(actor, requester, *on_behalf_of) {
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
        (Action::Create, Resource::Token { .. }) if !is_user(actor) => {
            Problem::forbidden("an agent cannot make tokens")
        }
        (Action::Create, Resource::Token { .. }) => Problem::forbidden("only an admin makes tokens for others"),
        (Action::See, Resource::Policies) => Problem::forbidden("only admins and auditors read policies"),
        (_, Resource::Directory) => Problem::forbidden("only a directory says over SCIM who there is")
            .hint("an admin makes its token: `postern tokens create --for agent:NAME --may scim`"),
        (_, Resource::Scan) => Problem::forbidden("only an admin scans a connection"),
        (_, Resource::WholeAudit) => Problem::forbidden("only auditors and admins read everybody's audit"),
        _ => Problem::forbidden("only an admin may do this"),
    }
}

fn who_reviews(groups: &[String]) -> String {
    if groups.is_empty() {
        "an admin has to".to_owned()
    } else {
        format!("another member of {} has to", groups.join(", "))
    }
}

#[cfg(test)]
#[path = "rights_tests.rs"]
mod tests;
