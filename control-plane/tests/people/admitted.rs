//! Which user somebody is whom a provider has proved.

use crate::support::{Cast, LIFETIME, apply_all, ask, at, postgres::Cluster, sqlite, told, world};
use postern_api::{
    access::{RequestStatus, Verdict},
    identity::{PrincipalKind, PrincipalRef},
    provider::IdentityProviderDocument,
};
use postern_control_plane::{
    identity::{
        people::{NotAdmitted, Verified, admit, check_fresh, remove},
        tokens,
    },
    requests,
    store::{Store, access, principals},
};
use postern_types::time::Micros;
use serde_json::{Value, json};

fn provider(name: &str) -> Value {
    json!({
        "kind": "IdentityProvider", "name": name,
        "oidc": { "url": format!("https://{name}.example.com"), "client_id": "postern" },
        "groups": { "claim": "groups" },
    })
}

fn document(name: &str) -> IdentityProviderDocument {
    let mut document = provider(name);
    document.as_object_mut().unwrap().remove("kind");
    serde_json::from_value(document).unwrap()
}

async fn come(
    store: &Store,
    provider: &IdentityProviderDocument,
    (subject, name): (&str, &str),
    groups: &[&str],
    now: Micros,
) -> Result<PrincipalRef, NotAdmitted> {
    let verified = Verified {
        provider,
        subject: subject.to_owned(),
        name: name.to_owned(),
        email: None,
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        acr: None,
        authenticated_at: Some(now),
        session: None,
        expires_at: None,
        refresh_token: None,
        id_token: None,
    };
    let mut tx = store.begin().await.unwrap();
    let user = admit(&mut tx, &verified, now).await?;
    tx.commit().await.unwrap();
    Ok(user)
}

async fn groups(store: &Store, user: &PrincipalRef) -> Vec<String> {
    let mut tx = store.read().await.unwrap();
    principals::groups_of(&mut tx, &user.id).await.unwrap()
}

async fn is_disabled(store: &Store, user: &PrincipalRef) -> bool {
    let mut tx = store.read().await.unwrap();
    tokens::actor(&mut tx, user).await.unwrap().is_none()
}

async fn taken_away(store: &Store, user: &PrincipalRef, now: Micros) {
    let mut tx = store.begin().await.unwrap();
    let _ = remove(&mut tx, &user.id, "refused", now).await.unwrap();
    tx.commit().await.unwrap();
}

/// On both kinds of store, since each of these is a transaction of its own there.
async fn on_both<F: AsyncFn(Store, Cast)>(test: F) {
    let (store, _folder) = sqlite().await;
    let cast = world(&store).await;
    test(store, cast).await;
    let cluster = Cluster::start();
    let store = cluster.store().await;
    let cast = world(&store).await;
    test(store, cast).await;
}

#[tokio::test]
async fn a_user_is_made_once_and_has_the_groups_that_the_provider_says() {
    on_both(async |store, cast| {
        apply_all(&store, &cast.admin, &[provider("corp")], false).await.unwrap();
        let corp = document("corp");
        let user = come(&store, &corp, ("s1", "zoe"), &["dba", "ops", "no name"], at(0)).await.unwrap();
        assert_eq!((user.kind, user.name.as_str()), (PrincipalKind::User, "zoe"));
        assert_eq!(groups(&store, &user).await, ["dba", "ops"]);
        // Called something else by now: the same person.
        let again = come(&store, &corp, ("s1", "zoe.new"), &["ops"], at(1)).await.unwrap();
        assert_eq!((again.id.clone(), groups(&store, &again).await), (user.id.clone(), vec!["ops".to_owned()]));
        // Somebody else who is called so now is not them.
        let another = come(&store, &corp, ("s2", "zoe"), &["ops"], at(2)).await;
        assert!(matches!(another, Err(NotAdmitted::Another(_))), "{another:?}");
        // A name that is none, and one that is.
        for bad in ["", "a b", "../x", "zoe\u{200b}", "<script>"] {
            assert!(matches!(come(&store, &corp, ("s3", bad), &["ops"], at(3)).await, Err(NotAdmitted::Name)), "{bad}");
        }
        come(&store, &corp, ("s3", "zoe@example.com"), &["ops"], at(4)).await.unwrap();
        // No group that counts.
        for none in [&[] as &[&str], &["no name"]] {
            assert!(matches!(come(&store, &corp, ("s4", "yan"), none, at(5)).await, Err(NotAdmitted::NoGroups)));
        }
        come(&store, &corp, ("s4", "yan"), &["ops"], at(6)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn nobody_takes_a_user_over() {
    on_both(async |store, cast| {
        let both = [provider("corp"), provider("other")];
        apply_all(&store, &cast.admin, &both, false).await.unwrap();
        let (corp, other) = (document("corp"), document("other"));
        // A document has made alice: she signs in where it says, and nowhere before it does.
        let alice = ("s1", "alice");
        assert!(matches!(come(&store, &corp, alice, &["ops"], at(0)).await, Err(NotAdmitted::Taken(_))));
        let says = |provider: Value| json!({ "kind": "User", "name": "alice", "sign_in": provider });
        let unknown = apply_all(&store, &cast.admin, &[says(json!("nowhere"))], false).await.unwrap_err();
        assert_eq!(told(unknown).field.as_deref(), Some("sign_in"));
        apply_all(&store, &cast.admin, &[says(json!("corp"))], false).await.unwrap();
        assert!(matches!(come(&store, &other, alice, &["ops"], at(1)).await, Err(NotAdmitted::Taken(_))));
        let user = come(&store, &corp, alice, &["ops"], at(2)).await.unwrap();
        assert_eq!(user, cast.alice.principal);
        // Not named, it stays; taken away, it is.
        apply_all(&store, &cast.admin, &[json!({ "kind": "User", "name": "alice", "auditor": true })], false)
            .await
            .unwrap();
        come(&store, &corp, alice, &["ops"], at(3)).await.unwrap();
        apply_all(&store, &cast.admin, &[says(Value::Null)], false).await.unwrap();
        assert!(matches!(come(&store, &corp, alice, &["ops"], at(4)).await, Err(NotAdmitted::Elsewhere(_))));
        // A user of one provider is none of another's, whatever it calls them.
        come(&store, &corp, ("s2", "zoe"), &["ops"], at(5)).await.unwrap();
        for subject in ["s2", "s9"] {
            assert!(matches!(
                come(&store, &other, (subject, "zoe"), &["ops"], at(6)).await,
                Err(NotAdmitted::Another(_))
            ));
        }
        come(&store, &other, ("s2", "yan"), &["ops"], at(7)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn whom_the_provider_gives_up_has_nothing_any_more() {
    on_both(async |store, cast| {
        apply_all(&store, &cast.admin, &[provider("corp")], false).await.unwrap();
        let corp = document("corp");
        let user = come(&store, &corp, ("s1", "zoe"), &["dba"], at(0)).await.unwrap();
        let actor = {
            let mut tx = store.read().await.unwrap();
            tokens::actor(&mut tx, &user).await.unwrap().unwrap()
        };
        let mut by_agent = ask("read");
        by_agent.on_behalf_of = Some("zoe".to_owned());
        let (granted, _) = requests::submit(&store, &cast.agent, &by_agent, LIFETIME, at(1)).await.unwrap();
        let yes = requests::Answer { verdict: Verdict::Approve, reason: None, duration: None, relations: &[] };
        requests::review(&store, &cast.dba, &granted.id, yes, at(2)).await.unwrap();
        let (pending, _) = requests::submit(&store, &actor, &ask("write"), LIFETIME, at(3)).await.unwrap();
        let (others, _) = requests::submit(&store, &cast.agent, &ask("write"), LIFETIME, at(4)).await.unwrap();

        taken_away(&store, &user, at(5)).await;
        let mut tx = store.read().await.unwrap();
        assert!(access::unended_grants_of(&mut tx, &user.id).await.unwrap().is_empty(), "the agent's for them too");
        drop(tx);
        let status = async |id| requests::get(&store, &cast.admin, id).await.unwrap().status;
        assert_eq!(status(&pending.id).await, RequestStatus::Withdrawn);
        assert_eq!(status(&others.id).await, RequestStatus::Pending, "what was not for them");
        assert!(is_disabled(&store, &user).await);
        assert!(requests::submit(&store, &cast.agent, &by_agent, LIFETIME, at(6)).await.is_err());
        // They are there again.
        come(&store, &corp, ("s1", "zoe"), &["dba"], at(7)).await.unwrap();
        assert!(!is_disabled(&store, &user).await);
        requests::submit(&store, &cast.agent, &by_agent, LIFETIME, at(8)).await.unwrap();
        // Whom an admin disables stays so, also when the provider had given them up before.
        taken_away(&store, &user, at(9)).await;
        let disabled = |disabled| json!({ "kind": "User", "name": "zoe", "disabled": disabled });
        apply_all(&store, &cast.admin, &[disabled(true)], false).await.unwrap();
        assert!(matches!(come(&store, &corp, ("s1", "zoe"), &["dba"], at(10)).await, Err(NotAdmitted::Disabled(_))));
        apply_all(&store, &cast.admin, &[disabled(false)], false).await.unwrap();
        come(&store, &corp, ("s1", "zoe"), &["dba"], at(11)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_provider_is_what_its_document_says() {
    let (store, _folder) = sqlite().await;
    let cast = world(&store).await;
    let with = |path: &str, value: Value| {
        let mut document = provider("corp");
        document["oidc"]["scopes"] = json!(["openid"]);
        document["oidc"]["user"] = json!("email");
        document["oidc"]["acr"] = json!(["phr"]);
        document["groups"]["prefix"] = json!("corp-");
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    for (field, document) in [
        ("oidc", with("/oidc", Value::Null)),
        ("oidc.url", with("/oidc/url", json!("http://login.example.com"))),
        ("oidc.url", with("/oidc/url", json!("https://169.254.169.254/"))),
        ("oidc.url", with("/oidc/url", json!("https://login.example.com/?tenant=1"))),
        ("oidc.client_id", with("/oidc/client_id", json!(" "))),
        ("oidc.user", with("/oidc/user", json!(""))),
        ("oidc.scopes", with("/oidc/scopes", json!(["profile"]))),
        ("oidc.scopes", with("/oidc/scopes", json!(["openid", "a b"]))),
        ("oidc.acr", with("/oidc/acr", json!(["a b"]))),
        ("groups.claim", with("/groups/claim", json!(""))),
        ("groups.prefix", with("/groups/prefix", json!("a b"))),
    ] {
        let error = told(apply_all(&store, &cast.admin, std::slice::from_ref(&document), false).await.unwrap_err());
        assert_eq!(error.field.as_deref(), Some(field), "{document} {error:?}");
    }
    apply_all(&store, &cast.admin, &[with("/groups/prefix", json!("corp-"))], false).await.unwrap();
}

#[tokio::test]
async fn whoever_approves_has_to_have_signed_in_as_the_connection_wants() {
    use postern_api::{document::ReviewTerms, error::ErrorCode, provider::SignedIn};
    let (store, _folder) = sqlite().await;
    let cast = world(&store).await;
    let signed_in = |acr: &str, seconds| SignedIn {
        id: postern_types::id::SignInId::new(),
        provider: "corp".to_owned(),
        authenticated_at: Some(at(seconds)),
        acr: Some(acr.to_owned()),
    };
    let by = |signed_in| postern_control_plane::identity::Actor { signed_in, ..cast.dba.clone() };
    let fresh = ReviewTerms { fresh: Some("5m".to_owned()), ..ReviewTerms::default() };
    let strong = ReviewTerms { acr: vec!["phr".to_owned()], ..fresh.clone() };
    let any = ReviewTerms::default();
    for (actor, terms, good) in [
        (by(None), &any, true),
        (by(None), &fresh, false),
        (by(Some(signed_in("pwd", 0))), &any, true),
        (by(Some(signed_in("pwd", 0))), &fresh, false),
        (by(Some(signed_in("pwd", 400))), &fresh, true),
        (by(Some(signed_in("pwd", 400))), &strong, false),
        (by(Some(signed_in("phr", 0))), &strong, false),
        (by(Some(signed_in("phr", 400))), &strong, true),
    ] {
        let checked = check_fresh(&actor, terms, at(600));
        assert_eq!(checked.is_ok(), good, "{actor:?} {terms:?}");
        if let Err(problem) = checked {
            let error = told(problem);
            assert_eq!(error.code, ErrorCode::Reauthenticate);
            assert_eq!(error.continue_at.is_some(), actor.signed_in.is_some(), "{error:?}");
        }
    }
}
