//! Every actor, every action, every resource: what is allowed is listed here, everything else is refused.

use super::*;
use postern_types::id::PrincipalId;

struct World {
    alice: Actor,
    bob: Actor,
    dba: Actor,
    admin: Actor,
    auditor: Actor,
    agent: Actor,
    agent_in_dba: Actor,
}

fn actor(kind: PrincipalKind, name: &str, groups: &[&str]) -> Actor {
    Actor {
        principal: PrincipalRef { kind, id: PrincipalId::new(), name: name.to_owned() },
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        admin: false,
        auditor: false,
        may: None,
        on_behalf_of: None,
        must_prove: false,
        job: None,
        signed_in: None,
    }
}

fn world() -> World {
    use PrincipalKind::{Agent, User};
    World {
        alice: actor(User, "alice", &[]),
        bob: actor(User, "bob", &[]),
        dba: actor(User, "dba", &["dba"]),
        admin: Actor { admin: true, ..actor(User, "admin", &[]) },
        auditor: Actor { auditor: true, ..actor(User, "auditor", &[]) },
        agent: actor(Agent, "agent", &["agents"]),
        agent_in_dba: actor(Agent, "agent_in_dba", &["dba"]),
    }
}

/// `check` lists, for each actor, the allowed actions; each that is not listed has to be refused.
fn check(world: &World, resource: &Resource<'_>, allowed: &[(&str, &[Action])]) {
    let World { alice, bob, dba, admin, auditor, agent, agent_in_dba } = world;
    for actor in [alice, bob, dba, admin, auditor, agent, agent_in_dba] {
        let name = actor.principal.name.as_str();
        let expect: &[Action] = allowed.iter().find(|(who, _)| *who == name).map_or(&[], |(_, actions)| actions);
        for action in Action::ALL {
            let is = is_allowed(actor, action, resource);
            assert_eq!(is, expect.contains(&action), "{name} {action:?} {resource:?}");
            assert_eq!(authorize(actor, action, resource).is_ok(), is);
        }
    }
}

use Action::{Approve, BreakGlass, Change, Claim, Close, Comment, Create, Delete, Deny, End, Extend, See, Withdraw};

#[test]
fn requests() {
    let world = world();
    let dba = ["dba".to_owned()];
    let request =
        |requester, on_behalf_of, reviewer_groups| Resource::Request { requester, on_behalf_of, reviewer_groups };
    let (agent, alice) = (&world.agent.principal, &world.alice.principal);

    // An agent's, for alice, reviewed by dba: the admin is no reviewer, being in no group that is.
    check(
        &world,
        &request(agent, Some(alice), &dba),
        &[
            ("alice", &[See, Comment, End]),
            ("dba", &[See, Approve, Deny, Comment, Close, End]),
            ("admin", &[See, Comment, End]),
            ("auditor", &[See]),
            ("agent", &[See, Withdraw, Comment, End]),
        ],
    );
    // No reviewers' groups: admins review.
    check(
        &world,
        &request(agent, None, &[]),
        &[
            ("admin", &[See, Approve, Deny, Comment, Close, End]),
            ("auditor", &[See]),
            ("agent", &[See, Withdraw, Comment, End]),
        ],
    );
    // Nobody reviews their own, nor what was made for them, before or after.
    let admin: (&str, &[Action]) = ("admin", &[See, Comment, End]);
    check(
        &world,
        &request(&world.dba.principal, None, &dba),
        &[("dba", &[See, Withdraw, Comment, End]), admin, ("auditor", &[See])],
    );
    check(
        &world,
        &request(agent, Some(&world.dba.principal), &dba),
        &[("dba", &[See, Comment, End]), admin, ("auditor", &[See]), ("agent", &[See, Withdraw, Comment, End])],
    );
    check(
        &world,
        &request(&world.admin.principal, None, &[]),
        &[("admin", &[See, Withdraw, Comment, End]), ("auditor", &[See])],
    );
}

#[test]
fn reviews() {
    let world = world();
    let dba = ["dba".to_owned()];
    let review =
        |principal, on_behalf_of, reviewer_groups| Resource::Review { principal, on_behalf_of, reviewer_groups };
    let (agent, alice) = (&world.agent.principal, &world.alice.principal);

    // An agent's, for alice: neither of them answers, nor an agent that is in the group, nor an admin who is not.
    check(
        &world,
        &review(agent, Some(alice), &dba),
        &[
            ("alice", &[See]),
            ("dba", &[See, Approve, Deny]),
            ("admin", &[See]),
            ("auditor", &[See]),
            ("agent", &[See, Withdraw]),
        ],
    );
    // Where nobody is named nobody answers.
    check(&world, &review(agent, None, &[]), &[("admin", &[See]), ("auditor", &[See]), ("agent", &[See, Withdraw])]);
    // Nobody answers their own, nor what was sent for them.
    check(
        &world,
        &review(&world.dba.principal, None, &dba),
        &[("dba", &[See, Withdraw]), ("admin", &[See]), ("auditor", &[See])],
    );
    check(
        &world,
        &review(agent, Some(&world.dba.principal), &dba),
        &[("dba", &[See]), ("admin", &[See]), ("auditor", &[See]), ("agent", &[See, Withdraw])],
    );
}

#[test]
fn grants_and_sessions() {
    let world = world();
    let (principal, on_behalf_of) = (&world.agent.principal, Some(&world.alice.principal));
    check(
        &world,
        &Resource::Grant { principal, on_behalf_of },
        &[("alice", &[See, End]), ("admin", &[See, End]), ("auditor", &[See]), ("agent", &[See, End, Claim, Extend])],
    );
    check(
        &world,
        &Resource::Session { principal, on_behalf_of },
        &[("alice", &[See, End]), ("admin", &[See, End]), ("auditor", &[See]), ("agent", &[See, End])],
    );
}

#[test]
fn asking() {
    let world = world();
    check(
        &world,
        &Resource::AccessRole { groups: &["agents".to_owned()], break_glass: &[] },
        &[("agent", &[See, Create]), ("admin", &[See])],
    );
    // In an emergency, people of that group and no agent, whoever else may ask.
    check(
        &world,
        &Resource::AccessRole { groups: &["agents".to_owned()], break_glass: &["dba".to_owned()] },
        &[("agent", &[See, Create]), ("dba", &[See, BreakGlass]), ("admin", &[See])],
    );
    let all: &[Action] = &[See, Create];
    let everybody = ["alice", "bob", "dba", "admin", "auditor", "agent", "agent_in_dba"].map(|name| (name, all));
    check(&world, &Resource::AccessRole { groups: &[], break_glass: &[] }, &everybody);
}

#[test]
fn tokens_configuration_audit() {
    let world = world();
    check(
        &world,
        &Resource::Token { owner: &world.alice.principal },
        &[("alice", &[See, Create, Delete]), ("admin", &[See, Create, Delete])],
    );
    check(
        &world,
        &Resource::Token { owner: &world.agent.principal },
        &[("agent", &[See, Delete]), ("admin", &[See, Create, Delete])],
    );
    let admin: &[(&str, &[Action])] = &[("admin", &[See, Create, Change, Delete, End])];
    check(&world, &Resource::Configuration, admin);
    check(&world, &Resource::Fleet, admin);
    check(&world, &Resource::DatabaseCredential, &[("admin", &[See, Change, Delete])]);
    check(&world, &Resource::Policies, &[("admin", &[See, Change]), ("auditor", &[See])]);
    check(&world, &Resource::AllGrants, &[("admin", &[End])]);
    check(&world, &Resource::Stop { owner: None }, &[("admin", &[Create, End])]);
    // Whoever answers for an agent stops it, and does not lift what an admin may have done.
    check(&world, &Resource::Stop { owner: Some("alice") }, &[("alice", &[Create]), ("admin", &[Create, End])]);
    check(&world, &Resource::Stop { owner: Some("agent") }, &[("admin", &[Create, End])]);
    let judges: [(&str, &[Action]); 2] = [("admin", &[See]), ("auditor", &[See])];
    check(&world, &Resource::Reach { principal: None, owner: None }, &judges);
    // Oneself, and whoever answers for an agent; an agent answers for nobody.
    let principal = Some(&world.agent.principal);
    let own: [(&str, &[Action]); 4] = [("agent", &[See]), ("alice", &[See]), judges[0], judges[1]];
    check(&world, &Resource::Reach { principal, owner: Some("alice") }, &own);
    check(
        &world,
        &Resource::Reach { principal: Some(&world.bob.principal), owner: Some("agent") },
        &[("bob", &[See]), judges[0], judges[1]],
    );
    check(&world, &Resource::Freeze, &[("admin", &[Create, End])]);
    check(&world, &Resource::Scan, &[("admin", &[Create])]);
    check(&world, &Resource::WholeAudit, &[("admin", &[See]), ("auditor", &[See])]);
    let see: &[Action] = &[See];
    let everybody = ["alice", "bob", "dba", "admin", "auditor", "agent", "agent_in_dba"].map(|name| (name, see));
    check(&world, &Resource::OwnAudit, &everybody);
}

#[test]
fn a_directory_says_who_there_is_and_does_nothing_else() {
    let world = world();
    check(&world, &Resource::Directory, &[]);
    let for_scim = |actor: &Actor| Actor { may: Some(vec!["scim".to_owned()]), ..actor.clone() };
    let directory = for_scim(&world.agent);
    let agent = &directory.principal;
    let allowed: Vec<_> =
        Action::ALL.into_iter().filter(|action| is_allowed(&directory, *action, &Resource::Directory)).collect();
    assert_eq!(allowed, [See, Create, Delete, Change]);
    for resource in [
        Resource::Configuration,
        Resource::OwnAudit,
        Resource::AccessRole { groups: &[], break_glass: &[] },
        Resource::Grant { principal: agent, on_behalf_of: None },
        Resource::Session { principal: agent, on_behalf_of: None },
        Resource::Request { requester: agent, on_behalf_of: None, reviewer_groups: &[] },
        Resource::Token { owner: agent },
    ] {
        assert!(!Action::ALL.iter().any(|action| is_allowed(&directory, *action, &resource)), "{resource:?}");
        assert!(Action::ALL.iter().all(|action| authorize(&directory, *action, &resource).is_err()), "{resource:?}");
    }
    // A person is none, whatever their token says; nor is whose token names an access role.
    let narrowed = Actor { may: Some(vec!["demo/read".to_owned()]), ..world.agent.clone() };
    for actor in [&for_scim(&world.admin), &narrowed] {
        assert!(!Action::ALL.iter().any(|action| is_allowed(actor, *action, &Resource::Directory)));
    }
}

#[test]
fn a_narrowed_token_gets_access_and_does_nothing_else() {
    let world = world();
    let places = || Some(vec!["demo/read".to_owned()]);
    let narrowed = |actor: &Actor| Actor { may: places(), ..actor.clone() };
    let (admin, agent, dba) = (narrowed(&world.admin), narrowed(&world.agent), narrowed(&world.dba));
    assert!(agent.reaches("demo", "read") && !agent.reaches("demo", "write") && !agent.reaches("demo/read", ""));
    assert!(is_allowed(&agent, Create, &Resource::AccessRole { groups: &[], break_glass: &[] }));
    let grant = Resource::Grant { principal: &agent.principal, on_behalf_of: None };
    for action in [See, Claim, End] {
        assert!(is_allowed(&agent, action, &grant), "{action:?}");
    }
    let reviewed =
        Resource::Review { principal: &agent.principal, on_behalf_of: None, reviewer_groups: &world.dba.groups };
    assert!(is_allowed(&world.dba, Approve, &reviewed) && !is_allowed(&dba, Approve, &reviewed));
    assert!(is_allowed(&agent, See, &reviewed) && is_allowed(&agent, Withdraw, &reviewed));
    assert!(is_allowed(&world.admin, Change, &Resource::Configuration));
    for resource in
        [Resource::Configuration, Resource::Policies, Resource::Fleet, Resource::WholeAudit, Resource::Freeze]
    {
        assert!(!Action::ALL.iter().any(|action| is_allowed(&admin, *action, &resource)), "{resource:?}");
    }
}
