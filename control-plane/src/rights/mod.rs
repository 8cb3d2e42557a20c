//! Who may do what: all of it, in one function, by the policies in `rights.cedar`. Everything that acts for somebody asks
//! here first: people and agents, by REST, and the connectors and gateways that call.

mod law;
pub(crate) mod refusal;

use crate::{identity::Actor, problem::Problem};
use law::Thing;
use postern_api::{
    document::AccessRole,
    fleet::PartKind,
    identity::{PrincipalKind, PrincipalRef},
};
use postern_types::id::PrincipalId;

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
    /// Call it.
    Call,
    /// Speak of it, as its connector.
    Report,
}

impl Action {
    /// All actions, for the test that tries each on each resource.
    pub const ALL: [Self; 15] = [
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
        Self::Call,
        Self::Report,
    ];

    /// As policies name it.
    fn as_str(self) -> &'static str {
        match self {
            Self::See => "see",
            Self::Create => "create",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Withdraw => "withdraw",
            Self::Claim => "claim",
            Self::End => "end",
            Self::Delete => "delete",
            Self::Change => "change",
            Self::Comment => "comment",
            Self::Close => "close",
            Self::Extend => "extend",
            Self::BreakGlass => "break_glass",
            Self::Call => "call",
            Self::Report => "report",
        }
    }
}

/// Who wants to.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// A person or an agent.
    Actor(&'a Actor),
    /// A connector or gateway, by its certificate's id.
    Part(PartKind, &'a str),
}

impl<'a> From<&'a Actor> for Who<'a> {
    fn from(actor: &'a Actor) -> Self {
        Self::Actor(actor)
    }
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
        /// Who answers for the agent that asks.
        owner: Option<&'a PrincipalId>,
        /// The groups that review; empty: admins.
        reviewer_groups: &'a [String],
    },
    /// A statement that waits for people.
    Review {
        /// Who asks.
        principal: &'a PrincipalRef,
        /// For whom.
        on_behalf_of: Option<&'a PrincipalRef>,
        /// Who answers for the agent that asks.
        owner: Option<&'a PrincipalId>,
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
        /// The id of the connector at which it is.
        connector: &'a str,
    },
    /// An access role of a connection: `Create` is to ask for it.
    AccessRole {
        /// Who may ask; empty: everybody.
        groups: &'a [String],
        /// Who gets it at once in an emergency; empty: nobody.
        break_glass: &'a [String],
    },
    /// The grants of everybody, and their sessions; `End`: on a connection.
    AllGrants,
    /// That a principal gets no access any more.
    Stop {
        /// The user who answers for it, if it is an agent that has one.
        owner: Option<&'a PrincipalId>,
    },
    /// What a principal can reach; with nobody in particular: what everybody can.
    Reach {
        /// Who.
        principal: Option<&'a PrincipalRef>,
        /// The user who answers for it, if it is an agent that has one.
        owner: Option<&'a PrincipalId>,
    },
    /// An API token.
    Token {
        /// Whose.
        principal: &'a PrincipalRef,
        /// The user who answers for them, if it is an agent's that has one.
        owner: Option<&'a PrincipalId>,
    },
    /// The tokens of everybody.
    AllTokens,
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
    /// What connectors and gateways call, as `Service/Method`.
    Rpc(&'static str),
}

/// Whether the actor may. Agents never approve or deny; nobody decides on a request that is their own, made for them or by
/// an agent of theirs; being an admin opens no database by itself.
///
/// # Errors
/// When the actor may not: the error says so in words for them.
pub fn authorize(actor: &Actor, action: Action, resource: &Resource<'_>) -> Result<(), Problem> {
    decide(actor.into(), action, resource).map_err(|forbids| refusal::of(actor, action, resource, &forbids))
}

/// The same, for those to whom nothing is explained.
#[must_use]
pub fn is_allowed<'a>(who: impl Into<Who<'a>>, action: Action, resource: &Resource<'_>) -> bool {
    decide(who.into(), action, resource).is_ok()
}

/// The rule itself: `rights.cedar`. An error names the policies that forbid it, if any do.
fn decide(who: Who<'_>, action: Action, resource: &Resource<'_>) -> Result<(), Vec<String>> {
    law::decide(who.thing(), action.as_str(), resource.thing())
}

impl Who<'_> {
    /// As policies know them.
    fn thing(self) -> Thing {
        match self {
            Self::Actor(actor) => {
                let Actor { principal, groups, admin, auditor, may, .. } = actor;
                let of = |kind| {
                    let id = principal.id.as_str();
                    Thing::new(kind, id).text("id", id).flag("narrowed", may.is_some()).texts("groups", groups)
                };
                match principal.kind {
                    PrincipalKind::User => of("User").flag("admin", *admin).flag("auditor", *auditor),
                    PrincipalKind::Agent => of("Agent").flag("directory", actor.is_directory()),
                }
            }
            Self::Part(PartKind::Connector, id) => Thing::new("Connector", id).text("id", id),
            Self::Part(PartKind::Gateway, id) => Thing::new("Gateway", id).text("id", id),
        }
    }
}

impl Resource<'_> {
    /// As policies know it. Its facts decide, and not which one it is.
    fn thing(&self) -> Thing {
        let of = |kind| Thing::new(kind, "it");
        let owned = |kind, by: &PrincipalRef, user: &Option<&PrincipalRef>| {
            of(kind).text("by", by.id.as_str()).text_if("on_behalf_of", user.map(|user| user.id.as_str()))
        };
        let with_owner =
            |thing: Thing, owner: &Option<&PrincipalId>| thing.text_if("owner", owner.map(PrincipalId::as_str));
        match self {
            Self::Request { requester, on_behalf_of, owner, reviewer_groups } => {
                with_owner(owned("Request", requester, on_behalf_of), owner).texts("reviewers", reviewer_groups)
            }
            Self::Review { principal, on_behalf_of, owner, reviewer_groups } => {
                with_owner(owned("Review", principal, on_behalf_of), owner).texts("reviewers", reviewer_groups)
            }
            Self::Grant { principal, on_behalf_of } => owned("Grant", principal, on_behalf_of),
            Self::Session { principal, on_behalf_of, connector } => {
                owned("Session", principal, on_behalf_of).text("connector", connector)
            }
            Self::AccessRole { groups, break_glass } => {
                of("AccessRole").texts("groups", groups).texts("break_glass", break_glass)
            }
            Self::Stop { owner } => with_owner(of("Stop"), owner),
            Self::Reach { principal, owner } => {
                with_owner(of("Reach").text_if("of", principal.map(|principal| principal.id.as_str())), owner)
            }
            Self::Token { principal, owner } => with_owner(of("Token").text("of", principal.id.as_str()), owner),
            Self::Rpc(name) => Thing::new("Rpc", name),
            Self::AllGrants => of("AllGrants"),
            Self::AllTokens => of("AllTokens"),
            Self::Configuration => of("Configuration"),
            Self::DatabaseCredential => of("DatabaseCredential"),
            Self::Policies => of("Policies"),
            Self::Freeze => of("Freeze"),
            Self::Scan => of("Scan"),
            Self::Directory => of("Directory"),
            Self::Fleet => of("Fleet"),
            Self::WholeAudit => of("WholeAudit"),
            Self::OwnAudit => of("OwnAudit"),
        }
    }
}

/// Whether the actor reviews for these groups: its members, or admins where there are none.
#[must_use]
pub fn is_reviewer(actor: &Actor, groups: &[String]) -> bool {
    actor.principal.kind == PrincipalKind::User && if groups.is_empty() { actor.admin } else { actor.is_in_any(groups) }
}

/// An access role, for deciding who may do what with it.
#[must_use]
pub fn role(role: &AccessRole) -> Resource<'_> {
    let break_glass = role.break_glass.as_ref().map_or(&[] as &[String], |named| &named.groups);
    Resource::AccessRole { groups: &role.groups, break_glass }
}

#[cfg(test)]
mod tests;
