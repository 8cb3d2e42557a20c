//! Machines that come with a certificate: which ones get a token, and what that is worth without them. Beside each that is
//! refused stands the twin that is accepted: the same certificate as it should be.

use crate::{
    Stage,
    authority::{Authority, Params, between, shown, spiffe},
    issuer::Key,
    support::{LIFETIME, apply_all, ask, told},
};
use postern_api::{access::CredentialUse, error::ErrorCode, issuer::ExchangedToken};
use postern_control_plane::{
    grants,
    identity::{
        self, Caller,
        issuers::{NotExchanged, certificates::Shown},
        web,
    },
    requests,
};
use postern_types::time::Micros;
use rcgen::{BasicConstraints, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use serde_json::{Value, json};

const NIGHTLY: &str = "spiffe://acme.example/ns/jobs/sa/nightly";

impl Stage {
    async fn show(&self, shown: &Shown, agent: Option<&str>) -> Result<ExchangedToken, NotExchanged> {
        self.exchange.by_certificate(&self.store, shown, agent, Micros::now()).await
    }

    async fn with(&self, token: &ExchangedToken, shown: &Shown) -> Option<Caller> {
        let token = SecretString::from(token.access_token.clone());
        identity::authenticate(&self.store, &token, shown, Micros::now()).await.unwrap()
    }
}

fn document(authority: &Authority, when: Value) -> Value {
    json!({
        "kind": "Issuer", "name": "machines", "authorities": authority.pem(),
        "agents": [{ "agent": "ci", "when": when, "may": ["demo/read"] }],
    })
}

async fn stage(authority: &Authority) -> Stage {
    let stage = Stage::new(Key::elliptic("one")).await;
    stage.apply(document(authority, json!({ "uri": NIGHTLY }))).await.unwrap();
    stage
}

#[tokio::test]
async fn a_certificate_buys_a_token_that_is_good_with_it_alone() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let own = shown([authority.sign(&spiffe(NIGHTLY))]);
    let token = stage.show(&own, None).await.unwrap();
    assert_eq!((token.token_type.as_str(), token.expires_in), ("Bearer", 900));
    let caller = stage.with(&token, &own).await.unwrap();
    assert_eq!(caller.actor.principal, stage.cast.agent.principal);
    assert_eq!(caller.token.may, Some(vec!["demo/read".to_owned()]));
    assert!(caller.token.certificate.is_some() && caller.token.certificate == own.thumbprint());
    // Without it, with another of the same names, and in a cookie, it is worth nothing.
    assert!(stage.with(&token, &Shown::default()).await.is_none());
    assert!(stage.with(&token, &shown([authority.sign(&spiffe(NIGHTLY))])).await.is_none());
    let bearer = SecretString::from(token.access_token.clone());
    let cookie = web::begin(&stage.store, &bearer, Micros::now()).await.unwrap_err();
    assert_eq!(told(cookie).code, ErrorCode::Unauthenticated);
    // One that is not bound is as good with a certificate as without.
    let by_hand = SecretString::from("postern_agent_ci");
    for shown in [&own, &Shown::default()] {
        assert!(identity::authenticate(&stage.store, &by_hand, shown, Micros::now()).await.unwrap().is_some());
    }
    let recorded = stage.recorded("token.exchanged").await;
    let detail = &recorded[0]["detail"];
    assert_eq!((&detail["claims"]["uri"], &detail["certificate"]), (&json!(NIGHTLY), &json!(own.thumbprint())));

    // No token outlives its certificate.
    let short = shown([authority.sign(&between(spiffe(NIGHTLY), -60, 300))]);
    assert!(stage.show(&short, None).await.unwrap().expires_in <= 300);
}

#[tokio::test]
async fn it_ends_with_the_document() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let own = shown([authority.sign(&spiffe(NIGHTLY))]);
    let token = stage.show(&own, None).await.unwrap();
    let agent = |disabled| json!({ "kind": "Agent", "name": "ci", "groups": ["agents"], "disabled": disabled });
    stage.apply(agent(true)).await.unwrap();
    assert!(stage.with(&token, &own).await.is_none());
    assert!(matches!(stage.show(&own, None).await, Err(NotExchanged::Disabled(_))));
    stage.apply(agent(false)).await.unwrap();

    let token = stage.show(&own, None).await.unwrap();
    stage.apply(json!({ "kind": "Issuer", "name": "machines", "delete": true })).await.unwrap();
    assert!(stage.with(&token, &own).await.is_none());
    assert!(stage.show(&own, None).await.unwrap_err().to_string().contains("no authority that is trusted"));
}

/// A chain with one more authority in it for each name, below the one that documents trust.
fn chain(authority: &Authority, names: &[&str]) -> Shown {
    let mut between = Vec::new();
    let mut last: Option<Authority> = None;
    for name in names {
        let next = last.as_ref().unwrap_or(authority).below(name, |_| {});
        between.insert(0, next.der());
        last = Some(next);
    }
    between.insert(0, last.as_ref().unwrap_or(authority).sign(&spiffe(NIGHTLY)));
    Shown::chain(between)
}

#[tokio::test]
async fn authorities_between() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    for names in [&[][..], &["a"], &["a", "b", "c"]] {
        assert!(stage.show(&chain(&authority, names), None).await.is_ok(), "{names:?}");
    }
    let below = authority.below("a", |_| {});
    let own = below.sign(&spiffe(NIGHTLY));
    let over = authority.below("over", |params| *params = between(params.clone(), -120, -60));
    let last = authority.below("last", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let past_last = last.below("past the last", |_| {});
    let elsewhere = Authority::root("a");
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    stage
        .refuses(&[
            ("one is missing", shown([own.clone()]), "no authority that is trusted"),
            ("the wrong way around", shown([below.der(), own.clone()]), "chain cannot be verified"),
            ("another of its name", shown([own.clone(), elsewhere.der()]), ""),
            ("one whose time is over", shown([over.sign(&spiffe(NIGHTLY)), over.der()]), "is over"),
            (
                "one below what may have none",
                shown([past_last.sign(&spiffe(NIGHTLY)), past_last.der(), last.der()]),
                "chain cannot be verified",
            ),
            ("too many", chain(&authority, &names), ""),
        ])
        .await;
    assert!(stage.show(&shown([own, below.der()]), None).await.is_ok());
}

impl Stage {
    /// Each is refused with words of this kind, which are recorded.
    async fn refuses(&self, attempts: &[(&str, Shown, &str)]) {
        let before = self.recorded("token.exchanged").await.len();
        for (name, shown, why) in attempts {
            let error = self.show(shown, None).await.expect_err(name).to_string();
            assert!(error.contains(why), "{name}: {error}");
            let recorded = self.recorded("token.refused").await;
            assert_eq!(recorded[0]["detail"]["why"], json!(error), "{name}");
            assert_eq!(recorded[0]["detail"]["certificate"], json!(shown.thumbprint()), "{name}");
        }
        assert_eq!(self.recorded("token.exchanged").await.len(), before);
    }
}

#[tokio::test]
async fn hostile_certificates() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let own = authority.sign(&spiffe(NIGHTLY));
    let with = |change: &dyn Fn(&mut Params)| {
        let mut params = spiffe(NIGHTLY);
        change(&mut params);
        shown([authority.sign(&params)])
    };
    let named = |id: &str| shown([authority.sign(&spiffe(id))]);
    let usage = |usage: ExtendedKeyUsagePurpose| with(&|params| params.extended_key_usages = vec![usage.clone()]);
    let by_itself = spiffe(NIGHTLY).self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
    let machine = authority.below("a machine", |params| params.is_ca = IsCa::ExplicitNoCa);
    let by_a_machine = machine.sign(&spiffe(NIGHTLY));
    let mut cut = own.to_vec();
    cut.truncate(cut.len() - 9);
    let mut changed = own.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let elsewhere = |name: &str| Authority::root(name).sign(&spiffe(NIGHTLY));
    let (untrusted, nobody) = ("no authority that is trusted", "no agent here");
    stage
        .refuses(&[
            ("none", Shown::default(), "none was shown"),
            ("garbage", shown([CertificateDer::from(b"garbage".to_vec())]), "cannot be read"),
            ("nothing in it", shown([CertificateDer::from(Vec::new())]), "cannot be read"),
            ("cut off", shown([CertificateDer::from(cut)]), "cannot be read"),
            ("a changed signature", shown([CertificateDer::from(changed)]), ""),
            ("of another authority", shown([elsewhere("others")]), untrusted),
            ("of another authority of that name", shown([elsewhere("machines")]), "another key"),
            ("signed by itself", shown([by_itself]), ""),
            ("signed by a machine", shown([by_a_machine, machine.der()]), ""),
            ("the authority's own", shown([authority.der()]), ""),
            ("over", shown([authority.sign(&between(spiffe(NIGHTLY), -120, -60))]), "is over"),
            ("not yet", shown([authority.sign(&between(spiffe(NIGHTLY), 60, 120))]), "has not begun"),
            ("for servers", usage(ExtendedKeyUsagePurpose::ServerAuth), "not for clients"),
            ("for code", usage(ExtendedKeyUsagePurpose::CodeSigning), "not for clients"),
            ("another name", named("spiffe://acme.example/ns/jobs/sa/daily"), nobody),
            ("a name that begins so", named("spiffe://acme.example/ns/jobs/sa/nightly2"), nobody),
            ("a name that ends so", named("x:spiffe://acme.example/ns/jobs/sa/nightly"), nobody),
            ("the name with a slash", named("spiffe://acme.example/ns/jobs/sa/nightly/"), nobody),
            ("the name in other letters", named("spiffe://acme.example/ns/jobs/sa/Nightly"), nobody),
            ("a pattern", named("spiffe://acme.example/*"), nobody),
            ("no name", shown([authority.sign(&Params::default())]), nobody),
            (
                "the name as the subject's",
                with(&|params| {
                    params.subject_alt_names.clear();
                    params.distinguished_name.push(DnType::CommonName, NIGHTLY);
                }),
                nobody,
            ),
            (
                "the name as a host's",
                with(&|params| params.subject_alt_names = vec![SanType::DnsName(NIGHTLY.try_into().unwrap())]),
                "",
            ),
        ])
        .await;
    assert!(stage.show(&shown([own]), None).await.is_ok());
    for usages in [vec![], vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]] {
        assert!(stage.show(&with(&|params| params.extended_key_usages = usages.clone()), None).await.is_ok());
    }
}

#[tokio::test]
async fn an_authority_whose_time_is_over_is_none() {
    let good = |until: i64| Authority::with("machines", |params| *params = between(params.clone(), -120, until));
    for (until, accepted) in [(60, true), (-60, false)] {
        let authority = good(until);
        let stage = stage(&authority).await;
        let token = stage.show(&shown([authority.sign(&spiffe(NIGHTLY))]), None).await;
        assert_eq!(token.is_ok(), accepted, "{token:?}");
    }
}

#[tokio::test]
async fn conditions_on_what_certificates_name() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let mut params = Params::new(vec!["a.jobs.example".to_owned(), "b.jobs.example".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
    params.distinguished_name.push(DnType::CommonName, "nightly");
    let own = shown([authority.sign(&params)]);
    let subject = "CN=nightly,O=Acme\\, Inc.";
    for (when, is) in [
        (json!({ "dns": "a.jobs.example" }), true),
        (json!({ "dns": "b.jobs.example" }), true),
        (json!({ "dns": ["c.jobs.example", "b.jobs.example"] }), true),
        (json!({ "dns": "jobs.example" }), false),
        (json!({ "dns": "*.jobs.example" }), false),
        (json!({ "subject": subject }), true),
        (json!({ "subject": "O=Acme\\, Inc.,CN=nightly" }), false),
        (json!({ "subject": "CN=nightly" }), false),
        (json!({ "subject": subject, "dns": "a.jobs.example" }), true),
        (json!({ "subject": subject, "dns": "c.jobs.example" }), false),
        (json!({ "uri": "a.jobs.example" }), false),
    ] {
        stage.apply(document(&authority, when.clone())).await.unwrap();
        assert_eq!(stage.show(&own, None).await.is_ok(), is, "{when}");
    }
    // It is the first agent that fits; one who says which agent it is has to be that one.
    stage.apply(json!({ "kind": "Agent", "name": "other" })).await.unwrap();
    let mut both = document(&authority, json!({ "dns": "a.jobs.example" }));
    let second = json!({ "agent": "other", "when": { "dns": "b.jobs.example" } });
    both["agents"].as_array_mut().unwrap().push(second);
    stage.apply(both).await.unwrap();
    assert!(stage.show(&own, Some("ci")).await.is_ok());
    assert!(stage.show(&own, Some("other")).await.unwrap_err().to_string().contains("another agent's"));
}

#[tokio::test]
async fn documents_of_authorities() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let when = || json!({ "uri": NIGHTLY });
    let with = |path: &str, value: Value| {
        let mut document = document(&authority, when());
        document[path] = value;
        document
    };
    let machine = Params::default().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let key = format!("{}{}", authority.pem(), KeyPair::generate().unwrap().serialize_pem());
    for (field, document) in [
        ("authorities", with("authorities", json!(""))),
        ("authorities", with("authorities", json!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))),
        ("authorities", with("authorities", json!("-----BEGIN CERTIFICATE-----\n"))),
        ("authorities", with("authorities", json!(machine))),
        ("authorities", with("authorities", json!(key))),
        ("authorities", with("authorities", json!(authority.pem().repeat(101)))),
        ("url", with("url", json!("https://token.example.com"))),
        ("url", with("audience", json!("postern"))),
        ("url", json!({ "kind": "Issuer", "name": "none", "agents": [{ "agent": "ci", "when": when() }] })),
        ("agents[0].when", document(&authority, json!({}))),
        ("agents[0].when", document(&authority, json!({ "sub": "nightly" }))),
        ("agents[0].when", document(&authority, json!({ "uri": true }))),
    ] {
        let error = told(stage.apply(document.clone()).await.unwrap_err());
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::Invalid, Some(field)), "{document} {error:?}");
    }
    // Several at once, and authorities that are replaced.
    let next = Authority::root("machines");
    let both = format!("{}\n{}", authority.pem(), next.pem());
    stage.apply(with("authorities", json!(both))).await.unwrap();
    for authority in [&authority, &next] {
        assert!(stage.show(&shown([authority.sign(&spiffe(NIGHTLY))]), None).await.is_ok());
    }
    stage.apply(document(&next, when())).await.unwrap();
    assert!(stage.show(&shown([authority.sign(&spiffe(NIGHTLY))]), None).await.is_err());
    let mut second = document(&authority, when());
    second["name"] = json!("others");
    stage.apply(second).await.unwrap();
    assert!(stage.show(&shown([authority.sign(&spiffe(NIGHTLY))]), None).await.is_ok());
}

#[tokio::test]
async fn a_grant_is_its_certificates_alone() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let mut issuer = document(&authority, json!({ "uri": NIGHTLY }));
    issuer["agents"][0].as_object_mut().unwrap().remove("may");
    stage.apply(issuer).await.unwrap();
    let bound = json!({ "kind": "Connection", "name": "demo", "roles": { "open": { "bind": ["certificate"] } } });
    apply_all(&stage.store, &stage.cast.admin, &[bound], true).await.unwrap();
    let (one, two) = (shown([authority.sign(&spiffe(NIGHTLY))]), shown([authority.sign(&spiffe(NIGHTLY))]));
    let caller = async |shown: &Shown| {
        let token = stage.show(shown, None).await.unwrap();
        stage.with(&token, shown).await.unwrap().actor
    };
    let claims = async |actor: &_, grant: &_| {
        let claimed = grants::claim(&stage.store, actor, grant, CredentialUse::Exec, Micros::now()).await;
        claimed.map(drop).map_err(|problem| told(problem).code)
    };
    let submit = async |actor: &_, role| {
        requests::submit(&stage.store, actor, &ask(role), LIFETIME, Micros::now()).await.map(|(request, _)| request)
    };
    let (first, word) = (caller(&one).await, &stage.cast.agent);
    let grant = submit(&first, "open").await.unwrap().grant_id.unwrap();
    assert_eq!(claims(&first, &grant).await, Ok(()));
    // With another token for the same certificate it is the same machine.
    assert_eq!(claims(&caller(&one).await, &grant).await, Ok(()));
    let second = caller(&two).await;
    assert_eq!(second.principal, first.principal);
    for other in [&second, word] {
        assert_eq!(claims(other, &grant).await, Err(ErrorCode::Forbidden));
    }
    assert_ne!(submit(&second, "open").await.unwrap().grant_id.unwrap(), grant);
    // Who has none asks for none; for what is not bound, anybody.
    assert_eq!(told(submit(word, "open").await.unwrap_err()).code, ErrorCode::Forbidden);
    assert!(submit(word, "read").await.is_ok());
}

/// On behalf of a person too, the token is good with the agent's certificate alone.
#[tokio::test]
async fn on_behalf_of_a_person() {
    let authority = Authority::root("machines");
    let stage = stage(&authority).await;
    let own = shown([authority.sign(&spiffe(NIGHTLY))]);
    let agents = SecretString::from(stage.show(&own, None).await.unwrap().access_token);
    let persons = SecretString::from("postern_user_alice");
    let exchange = async |shown: &Shown| {
        let both = [&persons, &agents];
        identity::behalf::exchange(&stage.exchange, &stage.store, both, shown, Micros::now()).await
    };
    assert!(exchange(&Shown::default()).await.unwrap_err().to_string().contains("no agent's own"));
    let token = exchange(&own).await.unwrap();
    assert!(stage.with(&token, &Shown::default()).await.is_none());
    let actor = stage.with(&token, &own).await.unwrap().actor;
    assert_eq!(actor.on_behalf_of, Some(stage.cast.alice.principal.clone()));
}
