//! Grants that are bound to the job that asked.

use crate::{
    Stage, github,
    issuer::Key,
    support::{LIFETIME, apply_all, ask, told},
};
use postern_api::{access::CredentialUse, error::ErrorCode};
use postern_control_plane::{grants, identity::Actor, requests};
use postern_types::{id::GrantId, time::Micros};
use serde_json::json;

impl Stage {
    /// The agent as the job of this branch.
    async fn job(&self, branch: &str) -> Actor {
        let mut claims = github(&self.issuer.url);
        claims["ref"] = json!(format!("refs/heads/{branch}"));
        claims["sub"] = json!(format!("repo:acme/shop:ref:refs/heads/{branch}"));
        self.caller(&self.bring(&self.key.sign(&claims)).await.unwrap()).await.unwrap().actor
    }

    async fn granted(&self, actor: &Actor) -> GrantId {
        requests::submit(&self.store, actor, &ask("open"), LIFETIME, Micros::now()).await.unwrap().0.grant_id.unwrap()
    }

    async fn claims(&self, actor: &Actor, grant: &GrantId) -> Result<(), ErrorCode> {
        let claimed = grants::claim(&self.store, actor, grant, CredentialUse::Exec, Micros::now()).await;
        claimed.map(drop).map_err(|problem| told(problem).code)
    }
}

#[tokio::test]
async fn a_grant_is_its_jobs_alone() {
    let stage = Stage::new(Key::elliptic("one")).await;
    let mut issuer = stage.document();
    issuer["agents"][0].as_object_mut().unwrap().remove("may");
    let bound = json!({ "kind": "Connection", "name": "demo", "roles": { "open": { "bind": ["job"] } } });
    stage.apply(issuer).await.unwrap();
    apply_all(&stage.store, &stage.cast.admin, &[bound], true).await.unwrap();
    let (main, next, word) = (stage.job("main").await, stage.job("next").await, &stage.cast.agent);
    assert_eq!(main.principal, next.principal);

    let grant = stage.granted(&main).await;
    assert_eq!(stage.claims(&main, &grant).await, Ok(()));
    // The same job with another token is the same job.
    let again = stage.job("main").await;
    assert_eq!(stage.claims(&again, &grant).await, Ok(()));
    // Another job of the same agent gets one of its own, and not this one; nor does a token that was made by hand.
    assert_eq!(stage.claims(&next, &grant).await, Err(ErrorCode::Forbidden));
    assert_eq!(stage.claims(word, &grant).await, Err(ErrorCode::Forbidden));
    let other = stage.granted(&next).await;
    assert_ne!(other, grant);
    assert_eq!(
        (stage.claims(&next, &other).await, stage.claims(&main, &other).await),
        (Ok(()), Err(ErrorCode::Forbidden))
    );
    // Who is no job asks for none.
    let refused = requests::submit(&stage.store, word, &ask("open"), LIFETIME, Micros::now()).await.unwrap_err();
    assert_eq!(told(refused).code, ErrorCode::Forbidden);
    assert!(requests::submit(&stage.store, word, &ask("read"), LIFETIME, Micros::now()).await.is_ok());
}
