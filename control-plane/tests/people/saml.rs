//! Who people are whom a provider has proved by SAML, and which answers are to whose question.

use crate::{
    hostile::refused,
    idp::{Idp, Sp},
    op::Done,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_api::document::{Source, SourcedDocument};
use postern_types::time::Micros;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;

const TRANSIENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient";

#[tokio::test]
async fn who_they_are() {
    let sp = Sp::new().await;
    let session = sp.sign_in().await;
    let (_, me) = sp.stage.whoami(&session).await;
    assert_eq!(
        (&me["name"], &me["groups"], &me["signed_in"]["provider"]),
        (&json!("zoe"), &json!(["dba", "ops"]), &json!("saml"))
    );
    let signed_in = sp.stage.recorded("user.signed_in").await;
    let detail = &signed_in[0]["detail"];
    assert_eq!(
        (&detail["subject"], &detail["email"], &detail["acr"]),
        (&json!("s1"), &json!("zoe@example.com"), &json!("phr"))
    );
    // Known by the NameID, whatever they are called later; in the groups of that time.
    let done = sp.with(
        "",
        |says| {
            says.attributes[0].1[0] = "zoe.smith".to_owned();
            says.attributes[2].1.pop();
        },
        |xml| xml,
    );
    let (_, me) = sp.stage.whoami(&done.await.session.unwrap()).await;
    assert_eq!((&me["name"], &me["groups"]), (&json!("zoe"), &json!(["ops"])));
    // Whom the provider has taken all groups from is removed, also where they are signed in already.
    let done = sp.with("", |says| says.attributes[2].1.clear(), |xml| xml).await;
    refused(&sp.stage, "no group", done, "names no group").await;
    assert_eq!(sp.stage.whoami(&session).await.0, 401);
    assert_eq!(sp.stage.recorded("user.removed").await.len(), 1);
    sp.sign_in().await;
}

/// Seconds from now until the newest sign-in ends.
async fn lasts(sp: &Sp) -> u64 {
    let signed_in = sp.stage.recorded("user.signed_in").await;
    let end: Micros = serde_json::from_value(signed_in[0]["detail"]["expires_at"].clone()).unwrap();
    end.since(Micros::now()).as_secs()
}

#[tokio::test]
async fn how_long_they_are() {
    let sp = Sp::new().await;
    for (told, lasting) in [(Some(600), 590..=600), (None, 3590..=3600), (Some(100 * 3600), 43_190..=43_200)] {
        let done = sp.with("", |says| says.session_until = told, |xml| xml).await;
        assert!(done.session.is_some(), "{}", done.text);
        let lasts = lasts(&sp).await;
        assert!(lasting.contains(&lasts), "{told:?}: {lasts}");
    }
    // It ends by itself.
    let done = sp.with("", |says| says.session_until = Some(2), |xml| xml).await;
    let session = done.session.unwrap();
    assert_eq!(sp.stage.whoami(&session).await.0, 200);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(sp.stage.whoami(&session).await.0, 401);
}

#[tokio::test]
async fn what_names_them() {
    let sp = Sp::new().await;
    let by = async |format: &'static str, name_id: &'static str| {
        sp.with("", |says| (says.format, says.name_id) = (format.to_owned(), name_id.to_owned()), |xml| xml).await
    };
    let persistent = crate::idp::PERSISTENT;
    // By an attribute: a NameID that is another each time does not matter.
    for name_id in ["_1", "_2"] {
        let done = by(TRANSIENT, name_id).await;
        assert_eq!(sp.stage.whoami(&done.session.unwrap()).await.1["name"], "zoe");
    }
    // By the NameID.
    let mut document = sp.idp.document("saml");
    document["saml"].as_object_mut().unwrap().remove("user");
    sp.stage.apply(vec![document]).await;
    let done = by(persistent, "yan@example.com").await;
    assert_eq!(sp.stage.whoami(&done.session.unwrap()).await.1["name"], "yan@example.com");
    for (name, format, name_id) in [("another each time", TRANSIENT, "_1"), ("empty", persistent, " ")] {
        refused(&sp.stage, name, by(format, name_id).await, "refused").await;
    }
    assert!(by(persistent, "yan@example.com").await.session.is_some());
}

#[tokio::test]
async fn how_they_have_signed_in() {
    let sp = Sp::new().await;
    let fresh = "?fresh=true&acr=phr%20mfa";
    assert!(sp.ask("saml", fresh).await.xml.contains(" ForceAuthn=\"true\""));
    assert!(!sp.ask("saml", "").await.xml.contains("ForceAuthn"));
    refused(&sp.stage, "long before", sp.with(fresh, |says| says.signed_in = -120, |xml| xml).await, "anew").await;
    refused(
        &sp.stage,
        "in another way",
        sp.with(fresh, |says| says.way = "pwd".to_owned(), |xml| xml).await,
        "way of signing in",
    )
    .await;
    let done = sp.with(fresh, |_| {}, |xml| xml).await;
    let session = done.session.unwrap();
    let role = json!({ "connection": "careful", "role": "read", "duration": "10m", "reason": "a test" });
    let (status, request) = sp.stage.by_token("POST", "/requests", "postern_ci", role).await;
    assert_eq!(status, 200, "{request}");
    let path = format!("/requests/{}/approve", request["id"].as_str().unwrap());
    let stale = sp.with("", |says| says.signed_in = -600, |xml| xml).await.session.unwrap();
    let (status, answer) = sp.stage.call("POST", &path, &stale, json!({})).await;
    assert_eq!(
        (status, &answer["error"]["continue_at"]),
        (403, &json!("/oauth/login/saml?fresh=true&acr=phr")),
        "{answer}"
    );
    assert_eq!(sp.stage.call("POST", &path, &session, json!({})).await.0, 200);
}

#[tokio::test]
async fn whose_question_it_was() {
    let sp = Sp::new().await;
    let other = Idp::new("https://other.example.com/metadata");
    sp.stage.apply(vec![other.document("second")]).await;
    sp.sign_in().await;
    let good = async |provider: &str| {
        let asked = sp.ask(provider, "").await;
        let answer = BASE64.encode(sp.idp.sign(&sp.says(&asked, provider).response(), false));
        (asked, answer)
    };
    let nobody = "to no sign-in that was begun here";

    let (asked, answer) = good("saml").await;
    refused(&sp.stage, "unasked", sp.post("saml", "", &answer).await, nobody).await;
    refused(&sp.stage, "with a page for a state", sp.post("saml", "https://evil.example.com", &answer).await, nobody)
        .await;
    refused(
        &sp.stage,
        "with another state",
        sp.post("saml", &sp.ask("saml", "").await.relay_state, &answer).await,
        "inResponseTo",
    )
    .await;
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("SAMLResponse", &answer).finish();
    refused(&sp.stage, "without a state", sp.post_form("saml", form.clone()).await, nobody).await;
    let twice = format!("{form}&RelayState={}&{form}", asked.relay_state);
    refused(&sp.stage, "twice in one form", sp.post_form("saml", twice).await, "form").await;
    refused(&sp.stage, "no form", sp.post_form("saml", "%".to_owned()).await, "form").await;
    let long = format!("{form}&RelayState={}&x={}", asked.relay_state, "x".repeat(600 << 10));
    refused(&sp.stage, "too long a form", sp.post_form("saml", long).await, "too long").await;
    assert_eq!(sp.stage.http.get(format!("{}/acs", sp.place("saml"))).send().await.unwrap().status(), 405);
    // All this has not answered the question.
    let posted = sp.post("saml", &asked.relay_state, &answer).await;
    assert!(sp.come(posted, Some(&asked.cookie)).await.session.is_some());
    refused(&sp.stage, "the same again", sp.post("saml", &asked.relay_state, &answer).await, nobody).await;
    refused(
        &sp.stage,
        "the same to a new question",
        sp.bring(&sp.ask("saml", "").await, &String::from_utf8(BASE64.decode(&answer).unwrap()).unwrap()).await,
        "inResponseTo",
    )
    .await;

    // A message or an assertion that was taken is not taken again, though it were signed anew for another question.
    let of = async |id: &str, assertion: &str| {
        let (id, assertion) = (id.to_owned(), format!(" ID=\"_a{assertion}\""));
        let asked = sp.ask("saml", "").await;
        let mut says = sp.says(&asked, "saml");
        says.id = id.clone();
        let response = says.response().replace(&format!(" ID=\"_a{id}\""), &assertion);
        sp.bring(&asked, &sp.idp.sign(&response, false)).await
    };
    assert!(of("one", "one").await.session.is_some());
    refused(&sp.stage, "a message again", of("one", "two").await, "taken before").await;
    refused(&sp.stage, "an assertion again", of("two", "one").await, "taken before").await;
    assert!(of("three", "three").await.session.is_some());

    // Between two providers.
    let (asked, answer) = good("saml").await;
    refused(
        &sp.stage,
        "at another's address",
        sp.post("second", &asked.relay_state, &answer).await,
        "not from the provider",
    )
    .await;
    let asked = sp.ask("saml", "").await;
    let theirs = other.sign(&sp.says(&asked, "saml").response(), false);
    refused(&sp.stage, "by another in its own name", sp.bring(&asked, &theirs).await, "refused").await;
    let asked = sp.ask("second", "").await;
    let firsts = BASE64.encode(sp.idp.sign(&sp.says(&asked, "second").response(), false));
    let posted = sp.post("second", &asked.relay_state, &firsts);
    refused(&sp.stage, "the first's in place of the second's", posted.await, "refused").await;
    refused(
        &sp.stage,
        "at one by OpenID Connect",
        sp.post("corp", &asked.relay_state, &answer).await,
        "no such identity provider",
    )
    .await;
    refused(&sp.stage, "at none", sp.post("nowhere", &asked.relay_state, &answer).await, "no such identity provider")
        .await;
    sp.sign_in().await;
}

#[tokio::test]
async fn whose_browser_it_was() {
    let sp = Sp::new().await;
    sp.sign_in().await;
    let posted = async || {
        let asked = sp.ask("saml", "").await;
        let answer = BASE64.encode(sp.idp.sign(&sp.says(&asked, "saml").response(), false));
        (sp.post("saml", &asked.relay_state, &answer).await, asked.cookie)
    };
    let here = "not begun in this browser";
    // Nobody is signed in by a form that another site has sent.
    let (answer, cookie) = posted().await;
    assert_eq!((answer.status, answer.session.is_none()), (303, true));
    let path = answer.location.clone();
    assert!(sp.come(answer, Some(&cookie)).await.session.is_some());
    let again = Done { status: 303, location: path, session: None, text: String::new() };
    refused(&sp.stage, "the code again", sp.come(again, Some(&cookie)).await, here).await;
    let (answer, _) = posted().await;
    refused(&sp.stage, "a browser that has not asked", sp.come(answer, None).await, here).await;
    let (answer, _) = posted().await;
    let theirs = sp.ask("saml", "").await.cookie;
    refused(&sp.stage, "a browser that has asked itself", sp.come(answer, Some(&theirs)).await, here).await;
    let (mut answer, cookie) = posted().await;
    sp.stage.apply(vec![Idp::new("https://other.example.com").document("second")]).await;
    answer.location = answer.location.replace("/saml/saml/", "/saml/second/");
    refused(&sp.stage, "at another provider", sp.come(answer, Some(&cookie)).await, "not from the provider").await;
    let done = sp.stage.back("/saml/saml/finish", Some(&cookie), &[("code", "made up")]).await;
    refused(&sp.stage, "a code that is made up", done, here).await;
    assert_eq!(sp.stage.back("/saml/saml/finish", Some(&cookie), &[]).await.status, 403);
    // A session that was in the browser before is not the one that begins.
    let planted = "postern=posternweb_plantedplantedplantedplantedplantedplant";
    let (answer, cookie) = posted().await;
    let session = sp.come(answer, Some(&format!("{planted}; {cookie}"))).await.session.unwrap();
    assert_ne!(session, planted);
    assert_eq!((sp.stage.whoami(planted).await.0, sp.stage.whoami(&session).await.0), (401, 200));
    // To no page elsewhere.
    for page in [
        "https://evil.example.com",
        "//evil.example.com",
        "/%5Cevil.example.com",
        "/saml/saml/finish",
        "/oauth/login/saml",
    ] {
        let done = Done::of(
            sp.stage.http.get(sp.stage.url(&format!("/oauth/login/saml?return_to={page}"))).send().await.unwrap(),
        )
        .await;
        refused(&sp.stage, page, done, "return_to").await;
    }
    sp.sign_in().await;
}

/// Why a provider is not applied.
async fn problem(sp: &Sp, document: Value) -> String {
    let sourced = vec![SourcedDocument { source: Source::default(), document }];
    sp.stage.running.core.apply(sourced, false, None).await.unwrap_err().to_string()
}

#[tokio::test]
async fn metadata_of_providers() {
    let sp = Sp::new().await;
    let good = sp.idp.metadata();
    let with = |metadata: String| {
        let mut document = sp.idp.document("saml");
        document["saml"]["metadata"] = json!(metadata);
        document
    };
    let of = |key: &KeyPair| {
        let certificate = CertificateParams::new(vec!["idp".to_owned()]).unwrap().self_signed(key).unwrap();
        let own = BASE64.encode(sp.idp.certificate.der());
        with(good.replace(&own, &BASE64.encode(certificate.der())))
    };
    let until = |at: &str| with(good.replace(" entityID=", &format!(" validUntil=\"{at}\" entityID=")));
    for (name, document, why) in [
        ("none", with(String::new()), "not the metadata"),
        ("no XML", with("zoe".to_owned()), "not the metadata"),
        ("a document type", with(format!("<!DOCTYPE x>{good}")), "not the metadata"),
        ("too long", with(format!("{good}{}", " ".repeat(300 << 10))), "bytes"),
        ("no key", with(good.replace("X509Certificate", "Other")), "no certificate"),
        ("a key that is none", with(good.replace("<ds:X509Certificate>", "<ds:X509Certificate>!")), "Base64"),
        ("another kind of key", of(&KeyPair::generate().unwrap()), "no certificate"),
        ("not by redirect", with(good.replace("HTTP-Redirect", "HTTP-POST")), "HTTP-Redirect"),
        ("in the clear", with(good.replace("https://idp", "http://idp")), "https://"),
        ("in time past", until("2020-01-01T00:00:00Z"), "valid until"),
    ] {
        let said = problem(&sp, document).await;
        assert!(said.contains(why), "{name}: {said}");
    }
    sp.stage.apply(vec![until("2999-01-01T00:00:00Z")]).await;
    let (mut both, mut neither, mut two) = (with(good.clone()), with(good.clone()), with(good.clone()));
    both["saml"]["metadata_url"] = json!("https://idp.example.com/metadata");
    neither["saml"] = json!({});
    two["oidc"] = json!({ "url": "https://idp.example.com", "client_id": "postern" });
    let mut inside = with(good);
    inside["saml"] = json!({ "metadata_url": "http://169.254.169.254/metadata" });
    for (document, why) in
        [(both, "one of both"), (neither, "one of both"), (two, "leave one of them out"), (inside, "nothing is sent")]
    {
        let said = problem(&sp, document).await;
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn metadata_by_address() {
    let sp = Sp::new().await;
    let says = std::sync::Arc::new(parking_lot::Mutex::new((500, sp.idp.metadata())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/metadata", listener.local_addr().unwrap());
    let told = std::sync::Arc::clone(&says);
    let serve = axum::routing::get(async move || {
        let (status, text) = told.lock().clone();
        (axum::http::StatusCode::from_u16(status).unwrap(), text)
    });
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/metadata", serve)).await });
    let mut document = sp.idp.document("saml");
    document["saml"] = json!({ "metadata_url": address, "user": "uid" });
    sp.stage.apply(vec![document]).await;
    let begin = async || Done::of(sp.stage.http.get(sp.stage.url("/oauth/login/saml")).send().await.unwrap()).await;
    for (status, text, why) in [
        (500, sp.idp.metadata(), "500"),
        (302, String::new(), "302"),
        (200, "zoe".to_owned(), "not the metadata"),
        (200, " ".repeat(300 << 10), "too long"),
    ] {
        *says.lock() = (status, text);
        refused(&sp.stage, why, begin().await, why).await;
    }
    *says.lock() = (200, sp.idp.metadata());
    sp.sign_in().await;
    // It is not asked again at once.
    *says.lock() = (500, String::new());
    sp.sign_in().await;
}

#[tokio::test]
async fn providers_that_want_signed_questions() {
    let sp = Sp::new().await;
    let place = sp.place("saml");
    let own = async || sp.stage.http.get(format!("{place}/metadata")).send().await.unwrap().text().await.unwrap();
    let metadata = own().await;
    for part in [
        format!("entityID=\"{place}/metadata\""),
        format!("Location=\"{place}/acs\""),
        "WantAssertionsSigned=\"true\"".to_owned(),
        "AuthnRequestsSigned=\"false\"".to_owned(),
    ] {
        assert!(metadata.contains(&part), "{part}: {metadata}");
    }
    let mut document = sp.idp.document("saml");
    let wants =
        sp.idp.metadata().replace("<md:IDPSSODescriptor ", "<md:IDPSSODescriptor WantAuthnRequestsSigned=\"true\" ");
    document["saml"]["metadata"] = json!(wants);
    sp.stage.apply(vec![document]).await;
    assert!(own().await.contains("AuthnRequestsSigned=\"true\""));
    let answer = sp.stage.http.get(sp.stage.url("/oauth/login/saml")).send().await.unwrap();
    let location = answer.headers()["location"].to_str().unwrap();
    assert!(
        location.contains("&SigAlg=http%3A%2F%2Fwww.w3.org%2F2001%2F04%2Fxmldsig-more%23rsa-sha256&Signature="),
        "{location}"
    );
    sp.sign_in().await;
}
