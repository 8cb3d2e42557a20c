//! An agent that acts on behalf of a person, by that person's own token.

use crate::{
    Stage, github,
    issuer::Key,
    support::{LIFETIME, ask, told},
};
use postern_api::{
    access::{CreateRequest, CredentialUse},
    error::ErrorCode,
    identity::{CreateToken, PrincipalKind, PrincipalName},
    issuer::ExchangedToken,
};
use postern_control_plane::{
    grants,
    identity::{behalf, issuers::NotExchanged, tokens},
    requests, stops,
};
use postern_types::time::Micros;
use secrecy::SecretString;
use serde_json::{Value, json};

const ALICE: &str = "postern_user_alice";
const AGENT: &str = "postern_agent_ci";

impl Stage {
    async fn both(&self, person: &str, agent: &str) -> Result<ExchangedToken, NotExchanged> {
        let [person, agent] = [person, agent].map(|token| SecretString::from(token.to_owned()));
        behalf::exchange(&self.exchange, &self.store, [&person, &agent], &Default::default(), Micros::now()).await
    }

    async fn token(&self, of: Option<(PrincipalKind, &str)>, may: Option<&[&str]>) -> String {
        let principal = of.map(|(kind, name)| PrincipalName { kind, name: name.to_owned() });
        let may = may.map(|may| may.iter().map(|&place| place.to_owned()).collect());
        let body = CreateToken { principal, name: "test".to_owned(), expires: None, may };
        tokens::create(&self.store, &self.cast.admin, &body, Micros::now()).await.unwrap().token
    }
}

fn on_behalf(role: &str, of: Option<&str>) -> CreateRequest {
    CreateRequest { on_behalf_of: of.map(str::to_owned), ..ask(role) }
}

#[tokio::test]
async fn a_persons_token_and_an_agents_make_one_for_both() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let (store, cast) = (&stage.store, &stage.cast);
    let job = stage.key.sign(&github(&stage.issuer.url));
    // The agent's is Postern's, or its platform's.
    for (agent, may) in [(AGENT, None), (job.as_str(), Some(vec!["demo/read".to_owned()]))] {
        let token = stage.both(ALICE, agent).await.unwrap();
        assert!(token.expires_in <= behalf::LIFETIME.as_secs());
        let caller = stage.caller(&token).await.unwrap();
        assert_eq!(caller.actor.principal, cast.agent.principal);
        assert_eq!((&caller.actor.on_behalf_of, &caller.actor.may), (&Some(cast.alice.principal.clone()), &may));
        let recorded = stage.recorded("token.exchanged").await;
        assert_eq!(recorded[0]["detail"]["on_behalf_of"]["name"], "alice", "{recorded:?}");
    }
    // What it asks for is on her behalf, whether it says so or not, and on nobody else's.
    let actor = stage.caller(&stage.both(ALICE, AGENT).await.unwrap()).await.unwrap().actor;
    for name in [None, Some("alice")] {
        let (request, _) =
            requests::submit(store, &actor, &on_behalf("open", name), LIFETIME, Micros::now()).await.unwrap();
        assert_eq!(request.on_behalf_of.as_ref(), Some(&cast.alice.principal));
    }
    let other = requests::submit(store, &actor, &on_behalf("open", Some("dba")), LIFETIME, Micros::now()).await;
    assert_eq!(told(other.unwrap_err()).field.as_deref(), Some("on_behalf_of"));
    // Of what the agent has, it claims what is hers alone.
    let (own, _) = requests::submit(store, &cast.agent, &ask("open"), LIFETIME, Micros::now()).await.unwrap();
    let claim = async |actor, grant| grants::claim(store, actor, grant, CredentialUse::Exec, Micros::now()).await;
    let refused = claim(&actor, own.grant_id.as_ref().unwrap()).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    assert!(claim(&cast.agent, own.grant_id.as_ref().unwrap()).await.is_ok());
}

#[tokio::test]
async fn it_ends_with_either() {
    use PrincipalKind::{Agent, User};
    let stage = Stage::new(Key::elliptic("one")).await;
    for whose in [0, 1] {
        let person = stage.token(Some((User, "alice")), None).await;
        let agent = stage.token(Some((Agent, "ci")), None).await;
        let token = stage.both(&person, &agent).await.unwrap();
        assert!(stage.caller(&token).await.is_some());
        let listed = tokens::list(&stage.store, &stage.cast.admin).await.unwrap();
        // Newest first: the one for both, the agent's, the person's.
        let ended = &listed[if whose == 0 { 2 } else { 1 }];
        tokens::delete(&stage.store, &stage.cast.admin, &ended.id, Micros::now()).await.unwrap();
        assert!(stage.caller(&token).await.is_none(), "{}", ended.principal.name);
    }
    // With the person.
    let token = stage.both(ALICE, AGENT).await.unwrap();
    stage.apply(json!({ "kind": "User", "name": "alice", "disabled": true })).await.unwrap();
    assert!(stage.caller(&token).await.is_none());
}

#[tokio::test]
async fn what_proves_nothing_is_refused() {
    use PrincipalKind::{Agent, User};
    let stage = Stage::new(Key::elliptic("one")).await;
    let for_both = stage.both(ALICE, AGENT).await.unwrap().access_token;
    let narrow = [stage.token(Some((User, "alice")), Some(&["demo/read"])).await];
    let narrow_agent = stage.token(Some((Agent, "ci")), Some(&["demo/open"])).await;
    let job = stage.key.sign(&github(&stage.issuer.url));
    let stranger = Key::elliptic("one").sign(&github(&stage.issuer.url));
    for (name, person, agent, why) in [
        ("an agent for an agent", AGENT, AGENT, "no user's"),
        ("the two the wrong way round", AGENT, ALICE, "no user's"),
        ("a person for a person", ALICE, "postern_user_dba", "no agent's"),
        ("a person's that nobody has", "postern_guess", AGENT, "no user's"),
        ("an agent's that nobody has", ALICE, "postern_guess", "no agent's"),
        ("a person's from a platform", job.as_str(), AGENT, "no user's"),
        ("a job's by another key", ALICE, stranger.as_str(), "signature"),
        ("nothing for the person", "", AGENT, "no user's"),
        ("one for both as the agent's", ALICE, for_both.as_str(), "no agent's"),
        ("one for both as the person's", for_both.as_str(), AGENT, "no user's"),
        ("two that have nothing in common", narrow[0].as_str(), narrow_agent.as_str(), "narrowed to nothing"),
    ] {
        let error = stage.both(person, agent).await.expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
        let recorded = stage.recorded("token.refused").await;
        assert!(recorded[0]["detail"]["why"].as_str().unwrap().contains(why), "{name}: {recorded:?}");
        // Its twin.
        assert!(stage.both(ALICE, AGENT).await.is_ok());
    }
    let name = PrincipalName { kind: User, name: "alice".to_owned() };
    stops::stop(&stage.store, &stage.cast.admin, &name, None, Micros::now()).await.unwrap();
    assert!(stage.both(ALICE, AGENT).await.unwrap_err().to_string().contains("stopped"));
}

#[tokio::test]
async fn an_agent_that_has_to_prove_it_is_not_taken_at_its_word() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let agent = async || {
        let token = SecretString::from(AGENT);
        postern_control_plane::identity::authenticate(&stage.store, &token, &Default::default(), Micros::now())
            .await
            .unwrap()
            .unwrap()
            .actor
    };
    let submit = async |actor: &_, of: Option<&str>| {
        requests::submit(&stage.store, actor, &on_behalf("open", of), LIFETIME, Micros::now()).await
    };
    let (asserted, _) = submit(&agent().await, Some("alice")).await.unwrap();
    let document = |proof: &str| -> Value { json!({ "kind": "Agent", "name": "ci", "on_behalf_of": proof }) };
    stage.apply(document("proved")).await.unwrap();
    let word = agent().await;
    let refused = told(submit(&word, Some("alice")).await.unwrap_err());
    assert!(refused.code == ErrorCode::Forbidden && refused.message.contains("has to prove"), "{refused:?}");
    // Nor for what was granted before; for itself it is as ever.
    let grant = asserted.grant_id.unwrap();
    let claim = async |actor: &_| grants::claim(&stage.store, actor, &grant, CredentialUse::Exec, Micros::now()).await;
    assert_eq!(told(claim(&word).await.unwrap_err()).code, ErrorCode::Forbidden);
    assert!(submit(&word, None).await.is_ok());
    let proved = stage.caller(&stage.both(ALICE, AGENT).await.unwrap()).await.unwrap().actor;
    assert_eq!(submit(&proved, None).await.unwrap().0.on_behalf_of, Some(stage.cast.alice.principal.clone()));
    assert!(claim(&proved).await.is_ok());
    stage.apply(document("asserted")).await.unwrap();
    assert!(submit(&agent().await, Some("alice")).await.is_ok());
}
