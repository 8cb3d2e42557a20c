//! Assertions that are not what they say: each is refused, and why is recorded. Beside each stands the twin that is accepted,
//! before and after.

use crate::{
    hostile::refused,
    idp::{AES_CBC, AES_GCM, Idp, RSA_SHA256, SUCCESS, Says, Sp},
    wrapped::element,
};
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use rcgen::{PublicKeyData as _, SigningKey as _};

type Change = Box<dyn FnOnce(&mut Says)>;

fn set(change: impl FnOnce(&mut Says) + 'static) -> Change {
    Box::new(change)
}

fn named(says: &mut Says, subject: &str, name: &str) {
    says.name_id = subject.to_owned();
    says.attributes[0].1 = vec![name.to_owned()];
}

#[tokio::test]
async fn what_is_said() {
    let sp = Sp::new().await;
    sp.sign_in().await;
    let evil = "https://evil.example.com".to_owned();
    let (a, b, c, d) = (evil.clone(), evil.clone(), evil.clone(), evil);
    let attempts: Vec<(&str, Change, &str)> = vec![
        ("another issuer", set(|says| says.issuer = a), "issuer mismatch"),
        ("no issuer", set(|says| says.issuer = String::new()), "refused"),
        ("another audience", set(|says| says.audience = Some(b)), "audience"),
        (
            "another provider's audience",
            set(|says| says.audience = says.audience.take().map(|at| at.replace("/saml/saml/", "/saml/corp/"))),
            "audience",
        ),
        ("no audience", set(|says| says.audience = None), "audience"),
        ("another destination", set(|says| says.destination = Some(c)), "destination mismatch"),
        ("another recipient", set(|says| says.recipient = Some(d)), "recipient"),
        ("no recipient", set(|says| says.recipient = None), "recipient"),
        ("another question", set(|says| says.asked = Some("_another".to_owned())), "inResponseTo mismatch"),
        ("no question", set(|says| says.asked = None), "inResponseTo mismatch"),
        (
            "confirmed for another question",
            set(|says| says.confirmed_for = Some("_another".to_owned())),
            "InResponseTo",
        ),
        ("confirmed for no question", set(|says| says.confirmed_for = None), "InResponseTo"),
        (
            "for whoever holds a key",
            set(|says| says.method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key".to_owned()),
            "confirmation",
        ),
        ("expired", set(|says| says.until = -60), "Conditions"),
        ("not yet", set(|says| says.not_before = 120), "Conditions"),
        ("confirmed until then", set(|says| says.confirmed_until = Some(-60)), "time window"),
        ("confirmed for ever", set(|says| says.confirmed_until = None), "NotOnOrAfter"),
        ("the session is over", set(|says| says.session_until = Some(-60)), "SessionNotOnOrAfter"),
        ("a condition that nobody knows", set(|says| says.conditions = "<saml:Other/>".to_owned()), "condition"),
        ("of another version", set(|says| says.version = "1.1".to_owned()), "refused"),
        (
            "a failure",
            set(|says| says.status = SUCCESS.replace("Success", "Responder")),
            "the provider refused: Responder",
        ),
        ("no status of the standard's", set(|says| says.status = "ok".to_owned()), "refused"),
        ("nobody", set(|says| named(says, "", "")), "name"),
        ("no name", set(|says| says.attributes[0].1.clear()), "what they are called"),
        ("two names", set(|says| says.attributes[0].1.push("root".to_owned())), "what they are called"),
        ("a name that is none", set(|says| named(says, "s8", "z o e")), "name"),
        ("a user of this control plane", set(|says| named(says, "s9", "admin")), "does not sign in there"),
        ("somebody else of that name", set(|says| named(says, "s2", "zoe")), "somebody else"),
    ];
    for (name, change, why) in attempts {
        refused(&sp.stage, name, sp.with("", change, |xml| xml).await, why).await;
    }
    sp.sign_in().await;
    // It has to say that they have signed in, and not who they are alone.
    let asked = sp.ask("saml", "").await;
    let response = sp.says(&asked, "saml").response();
    let told = response.replace(element(&response, "saml:AuthnStatement"), "");
    let done = sp.bring(&asked, &sp.idp.sign(&told, false)).await;
    refused(&sp.stage, "no sign-in", done, "AuthnStatement").await;
    // Clocks may be half a minute apart.
    let late = sp.with("", |says| (says.not_before, says.until, says.confirmed_until) = (20, 60, Some(-20)), |xml| xml);
    assert!(late.await.session.is_some());
}

/// As exclusive canonicalization writes it.
fn canonical(signature: &str) -> String {
    let info = element(signature, "ds:SignedInfo");
    let info = info.replacen("<ds:SignedInfo>", "<ds:SignedInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">", 1);
    let parts = info.split("/>").collect::<Vec<_>>();
    let (last, rest) = parts.split_last().unwrap();
    let mut text = String::new();
    for part in rest {
        let name = part.rsplit('<').next().unwrap().split(' ').next().unwrap();
        text += &format!("{part}></{name}>");
    }
    text + last
}

/// The signature's value is made anew over what it says now.
fn resigned(xml: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signature = element(xml, "ds:Signature");
    let value = BASE64.encode(sign(canonical(signature).as_bytes()));
    xml.replace(element(xml, "ds:SignatureValue"), &format!("<ds:SignatureValue>{value}</ds:SignatureValue>"))
}

#[tokio::test]
async fn signatures() {
    let sp = Sp::new().await;
    sp.sign_in().await;
    let other = Idp::new(&sp.idp.entity);
    let key = &sp.idp.key;
    let unsigned = |xml: &str| xml.replace(element(xml, "ds:Signature"), "");
    let (of_rsa, of_sha1) = (RSA_SHA256, "http://www.w3.org/2000/09/xmldsig#rsa-sha1");
    let of_hmac = "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256";
    // What this file makes of a signature is one: it is accepted.
    let good = sp.with("", |_| {}, |xml| resigned(&xml, |text| key.sign(text).unwrap()));
    assert!(good.await.session.is_some());
    type Forge<'a> = Box<dyn Fn(&str) -> String + 'a>;
    let attempts: Vec<(&str, Forge<'_>, &str)> = vec![
        ("none", Box::new(unsigned), "signature missing"),
        ("by another key", Box::new(|xml| other.sign(&unsigned(xml), false)), "refused"),
        ("of the response, by another key", Box::new(|xml| other.sign(xml, true)), "refused"),
        ("of the response, by another key, alone", Box::new(|xml| other.sign(&unsigned(xml), true)), "refused"),
        (
            "an empty value",
            Box::new(|xml| xml.replace(element(xml, "ds:SignatureValue"), "<ds:SignatureValue></ds:SignatureValue>")),
            "refused",
        ),
        ("no value", Box::new(|xml| xml.replace(element(xml, "ds:SignatureValue"), "")), "refused"),
        (
            "nothing of it",
            Box::new(|xml| {
                xml.replace(
                    element(xml, "ds:Signature"),
                    "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"></ds:Signature>",
                )
            }),
            "refused",
        ),
        (
            "by the public key as a secret",
            Box::new(|xml| {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, &key.subject_public_key_info());
                resigned(&xml.replace(of_rsa, of_hmac), |text| hmac::sign(&secret, text).as_ref().to_vec())
            }),
            "refused",
        ),
        (
            "by the certificate as a secret",
            Box::new(|xml| {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, sp.idp.certificate.pem().as_bytes());
                resigned(&xml.replace(of_rsa, of_hmac), |text| hmac::sign(&secret, text).as_ref().to_vec())
            }),
            "refused",
        ),
        ("alg none", Box::new(|xml| xml.replace(of_rsa, "none")), "refused"),
        ("no algorithm", Box::new(|xml| xml.replace(of_rsa, "")), "refused"),
        ("SHA-1", Box::new(|xml| resigned(&xml.replace(of_rsa, of_sha1), |text| key.sign(text).unwrap())), "refused"),
        (
            "a digest of SHA-1",
            Box::new(|xml| {
                let weak =
                    xml.replace("http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1");
                resigned(&weak, |text| key.sign(text).unwrap())
            }),
            "refused",
        ),
        (
            "of the whole document, it says",
            Box::new(|xml| {
                let reference =
                    element(xml, "ds:SignedInfo").split("URI=\"").nth(1).unwrap().split('"').next().unwrap();
                resigned(&xml.replace(&format!("URI=\"{reference}\""), "URI=\"\""), |text| key.sign(text).unwrap())
            }),
            "refused",
        ),
        (
            "of what is elsewhere",
            Box::new(|xml| {
                let reference =
                    element(xml, "ds:SignedInfo").split("URI=\"").nth(1).unwrap().split('"').next().unwrap();
                let moved = xml.replace(&format!("URI=\"{reference}\""), "URI=\"http://127.0.0.1:1/x\"");
                resigned(&moved, |text| key.sign(text).unwrap())
            }),
            "refused",
        ),
        (
            "through a style sheet",
            Box::new(|xml| {
                let styled = xml.replace(
                    "http://www.w3.org/2000/09/xmldsig#enveloped-signature",
                    "http://www.w3.org/TR/1999/REC-xslt-19991116",
                );
                resigned(&styled, |text| key.sign(text).unwrap())
            }),
            "refused",
        ),
        (
            "two of them",
            Box::new(|xml| {
                let signature = element(xml, "ds:Signature");
                xml.replacen(signature, &format!("{signature}{signature}"), 1)
            }),
            "refused",
        ),
        ("another name after it", Box::new(|xml| xml.replace(">zoe<", ">root<")), "refused"),
        ("another NameID after it", Box::new(|xml| xml.replace(">s1<", ">s2<")), "refused"),
        ("another group after it", Box::new(|xml| xml.replace(">ops<", ">admins<")), "refused"),
        (
            "a later end after it",
            Box::new(|xml| xml.replace("<saml:Conditions ", "<saml:Conditions x=\"\" ")),
            "refused",
        ),
        (
            "one group more after it",
            Box::new(|xml| {
                xml.replace("</saml:AttributeStatement>", "<saml:Attribute Name=\"groups\"><saml:AttributeValue>admins</saml:AttributeValue></saml:Attribute></saml:AttributeStatement>")
            }),
            "refused",
        ),
    ];
    for (name, forge, why) in attempts {
        refused(&sp.stage, name, sp.with("", |_| {}, |xml| forge(&xml)).await, why).await;
    }
    sp.sign_in().await;
}

#[tokio::test]
async fn texts() {
    let sp = Sp::new().await;
    sp.sign_in().await;
    type Forge = fn(&str) -> String;
    let attempts: Vec<(&str, Forge, &str)> = vec![
        ("a document type", |xml| format!("<!DOCTYPE x>{xml}"), "document type"),
        (
            "an entity",
            |xml| format!("<!DOCTYPE x [<!ENTITY e \"zoe\">]>{}", xml.replace(">zoe<", ">&e;<")),
            "document type",
        ),
        (
            "an entity from a file",
            |xml| format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", xml.replace(">zoe<", ">&e;<")),
            "document type",
        ),
        (
            "an entity from elsewhere",
            |xml| format!("<!DOCTYPE x [<!ENTITY % e SYSTEM \"http://127.0.0.1:1/x\"> %e;]>{xml}"),
            "document type",
        ),
        (
            "a bomb of entities",
            |xml| {
                let more = |(at, of): (char, char)| {
                    format!("<!ENTITY {at} \"&{of};&{of};&{of};&{of};&{of};&{of};&{of};&{of};\">")
                };
                let bomb: String = ('b'..='z').zip('a'..).map(more).collect();
                format!("<!DOCTYPE x [<!ENTITY a \"ha\">{bomb}]>{}", xml.replace(">zoe<", ">&z;<"))
            },
            "document type",
        ),
        ("an entity that is nowhere", |xml| xml.replace(">zoe<", ">&zoe;<"), "refused"),
        ("a comment in the name", |xml| xml.replace(">zoe<", ">z<!---->oe<"), "comment"),
        ("a comment in the NameID", |xml| xml.replace(">s1<", ">s<!-- -->1<"), "comment"),
        ("raw text", |xml| xml.replace(">zoe<", "><![CDATA[zoe]]><"), "raw text"),
        ("an instruction in the name", |xml| xml.replace(">zoe<", ">z<?x?>oe<"), "refused"),
        (
            "deeper than anybody writes",
            |xml| {
                let deep = format!("{}{}", "<x>".repeat(60), "</x>".repeat(60));
                xml.replacen("<samlp:Status>", &format!("<samlp:Extensions>{deep}</samlp:Extensions><samlp:Status>"), 1)
            },
            "depth",
        ),
        (
            "more elements than anybody writes",
            |xml| {
                let many = "<x/>".repeat(25_000);
                xml.replacen("<samlp:Status>", &format!("<samlp:Extensions>{many}</samlp:Extensions><samlp:Status>"), 1)
            },
            "nodes",
        ),
        ("longer than is read", |xml| format!("{}{xml}", " ".repeat(300 << 10)), "too long"),
        ("half of it", |xml| xml[..xml.len() / 2].to_owned(), "refused"),
        ("two documents", |xml| format!("{xml}{xml}"), "refused"),
        ("nothing", |_| String::new(), "Base64"),
        ("no XML", |_| "zoe".to_owned(), "refused"),
        ("a request", |xml| xml.replace("samlp:Response", "samlp:AuthnRequest"), "refused"),
        ("in no namespace", |xml| xml.replace("urn:oasis:names:tc:SAML:2.0:protocol", "urn:other"), "refused"),
    ];
    for (name, forge, why) in attempts {
        refused(&sp.stage, name, sp.with("", |_| {}, |xml| forge(&xml)).await, why).await;
    }
    let brought = async |response: &str| {
        let asked = sp.ask("saml", "").await;
        sp.post("saml", &asked.relay_state, response).await
    };
    refused(&sp.stage, "no Base64", brought("not+base64!").await, "Base64").await;
    refused(&sp.stage, "no UTF-8", brought(&BASE64.encode([0xff, 0xfe, b'<', 0])).await, "Base64").await;
    // The name that a comment parts is another one than its first half, as it is signed.
    let whole = sp.with(
        "",
        |says| (says.name_id, says.attributes[0].1[0]) = ("s3".to_owned(), "zoe.evil.example.com".to_owned()),
        |xml| xml,
    );
    let (_, me) = sp.stage.whoami(&whole.await.session.unwrap()).await;
    assert_eq!(me["name"], "zoe.evil.example.com");
    sp.sign_in().await;
}

#[tokio::test]
async fn what_is_encrypted() {
    let sp = Sp::new().await;
    let bring = async |forge: &dyn Fn(String) -> String, algorithm: &str, after: &dyn Fn(String) -> String| {
        let asked = sp.ask("saml", "").await;
        let signed = sp.idp.sign(&sp.says(&asked, "saml").response(), false);
        let encrypted = sp.encrypted(&forge(signed), algorithm).await;
        sp.bring(&asked, &after(encrypted)).await
    };
    let (as_is, whole) = (|xml: String| xml, |xml: String| sp.idp.sign(&xml, true));
    for algorithm in [AES_GCM, AES_CBC] {
        let done = bring(&as_is, algorithm, &whole).await;
        let session = done.session.unwrap_or_else(|| panic!("{algorithm}: {}", done.text));
        assert_eq!(sp.stage.whoami(&session).await.1["name"], "zoe");
    }
    let unsigned = |xml: String| xml.replace(element(&xml, "ds:Signature"), "");
    let commented = |xml: String| xml.replace(">zoe<", ">z<!---->oe<");
    let other = Idp::new("https://other.example.com");
    let spoiled = |xml: String| {
        let value = element(&xml, "xenc:CipherValue").to_owned();
        let data = xml.rfind("<xenc:CipherValue>").unwrap();
        let at = data + value.len().min(60);
        let changed = if xml.as_bytes()[at] == b'A' { "B" } else { "A" };
        whole(format!("{}{changed}{}", &xml[..at], &xml[at + 1..]))
    };
    type Made<'a> = &'a dyn Fn(String) -> String;
    let weak = |xml: String| {
        whole(
            xml.replace("http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2001/04/xmlenc#rsa-1_5"),
        )
    };
    let beside = |xml: String| {
        whole(xml.replace(
            "</saml:EncryptedAssertion>",
            "</saml:EncryptedAssertion><saml:EncryptedAssertion></saml:EncryptedAssertion>",
        ))
    };
    let by_other = |xml: String| other.sign(&xml, true);
    let attempts: Vec<(&str, Made<'_>, &str, Made<'_>, &str)> = vec![
        ("without a signature inside", &unsigned, AES_GCM, &whole, "signature missing"),
        ("without a signature outside", &as_is, AES_GCM, &as_is, "signature missing"),
        ("without a signature outside, by blocks", &as_is, AES_CBC, &as_is, "signature missing"),
        ("without a signature", &unsigned, AES_GCM, &as_is, "signature missing"),
        ("signed outside by another", &as_is, AES_GCM, &by_other, "certificate mismatch"),
        ("with a comment inside", &commented, AES_GCM, &whole, "comment"),
        ("changed", &as_is, AES_GCM, &spoiled, "refused"),
        ("by RSA without OAEP", &as_is, AES_GCM, &weak, "refused"),
        ("two", &as_is, AES_GCM, &beside, "more than one"),
    ];
    for (name, forge, algorithm, after, why) in attempts {
        refused(&sp.stage, name, bring(forge, algorithm, after).await, why).await;
    }
    // For somebody else.
    let asked = sp.ask("saml", "").await;
    let signed = sp.idp.sign(&sp.says(&asked, "saml").response(), false);
    let encrypted =
        saml_rs::crypto::enc::encrypt_assertion(&signed, &other.certificate.pem(), AES_GCM, crate::idp::OAEP, "saml");
    refused(&sp.stage, "for another", sp.bring(&asked, &whole(encrypted.unwrap())).await, "refused").await;
    assert!(bring(&as_is, AES_GCM, &whole).await.session.is_some());
}
