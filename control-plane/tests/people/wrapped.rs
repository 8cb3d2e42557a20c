//! Signature wrapping, XSW 1 to 8 as Somorovsky and others have named them ("On Breaking SAML: Be Whoever You Want to Be", 2012):
//! what was signed is put elsewhere, and what the attacker wants to be believed stands in its place. Each is refused, and the
//! answer that it was made of signs Zoe in.

use crate::{hostile::refused, idp::Sp};

/// An element's text, from its first tag to its last.
pub fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let start = xml.find(&format!("<{name}")).unwrap_or_else(|| panic!("{name} is not in {xml}"));
    let close = format!("</{name}>");
    let end = xml[start..].find(&close).unwrap() + start + close.len();
    &xml[start..end]
}

fn assertion(xml: &str) -> &str {
    element(xml, "saml:Assertion")
}

fn signature(xml: &str) -> &str {
    element(xml, "ds:Signature")
}

fn id(element: &str) -> &str {
    element.split(" ID=\"").nth(1).unwrap().split('"').next().unwrap()
}

fn with_id(element: &str, new: &str) -> String {
    element.replacen(&format!(" ID=\"{}\"", id(element)), &format!(" ID=\"{new}\""), 1)
}

fn renamed(xml: &str) -> String {
    xml.replace(">zoe<", ">root<").replace(">s1<", ">s0<")
}

/// What the attacker wants to be believed: another's name, under another id, without a signature.
fn evil(xml: &str) -> String {
    let unsigned = assertion(xml).replace(signature(assertion(xml)), "");
    renamed(&with_id(&unsigned, "_evil"))
}

/// The assertion that was signed, without its signature.
fn bare(xml: &str) -> String {
    assertion(xml).replace(signature(assertion(xml)), "")
}

/// `element` with this put in after its issuer.
fn holding(element: &str, inner: &str) -> String {
    element.replacen("</saml:Issuer>", &format!("</saml:Issuer>{inner}"), 1)
}

/// The signature with something inside, as an object of it.
fn with_object(signature: &str, inner: &str) -> String {
    signature.replace("</ds:Signature>", &format!("<ds:Object>{inner}</ds:Object></ds:Signature>"))
}

type Wrapping = (&'static str, fn(&str) -> String);

/// Of a response that is signed itself: its signature comes first.
const OF_RESPONSES: [Wrapping; 2] = [
    ("XSW1: the response within the signature of a forged one", |xml| {
        let original = xml.replacen(signature(xml), "", 1);
        holding(&renamed(&with_id(&original, "_evil")), &with_object(signature(xml), &original))
    }),
    ("XSW2: the response beside the signature in a forged one", |xml| {
        let original = xml.replacen(signature(xml), "", 1);
        holding(&renamed(&with_id(&original, "_evil")), &format!("{}{original}", signature(xml)))
    }),
];

/// Of a signed assertion.
const OF_ASSERTIONS: [Wrapping; 12] = [
    ("XSW3: a forged assertion before the signed one", |xml| {
        xml.replace(assertion(xml), &format!("{}{}", evil(xml), assertion(xml)))
    }),
    ("XSW3: a forged assertion after the signed one", |xml| {
        xml.replace(assertion(xml), &format!("{}{}", assertion(xml), evil(xml)))
    }),
    ("XSW4: the signed assertion within a forged one", |xml| {
        let forged = evil(xml).replace("</saml:Assertion>", &format!("{}</saml:Assertion>", assertion(xml)));
        xml.replace(assertion(xml), &forged)
    }),
    ("XSW5: the forged one has the signature, the signed one follows", |xml| {
        let forged = holding(&evil(xml), signature(assertion(xml)));
        xml.replace(assertion(xml), &format!("{forged}{}", bare(xml)))
    }),
    ("XSW6: the forged one has the signature, and in it the signed one", |xml| {
        let signature = signature(assertion(xml));
        let inner = signature.replace("</ds:Signature>", &format!("{}</ds:Signature>", bare(xml)));
        xml.replace(assertion(xml), &holding(&evil(xml), &inner))
    }),
    ("XSW7: a forged one among extensions", |xml| {
        let forged =
            format!("<samlp:Extensions>{}</samlp:Extensions><samlp:Status>", with_id(&evil(xml), id(assertion(xml))));
        xml.replacen("<samlp:Status>", &forged, 1)
    }),
    ("XSW8: the signed one as an object of the forged one's signature", |xml| {
        let inner = with_object(signature(assertion(xml)), &bare(xml));
        xml.replace(assertion(xml), &holding(&with_id(&evil(xml), id(assertion(xml))), &inner))
    }),
    ("the signed one as an object of the forged one's signature, by another id", |xml| {
        let inner = with_object(signature(assertion(xml)), &bare(xml));
        xml.replace(assertion(xml), &holding(&evil(xml), &inner))
    }),
    ("two of one id", |xml| {
        let forged = with_id(&evil(xml), id(assertion(xml)));
        xml.replace(assertion(xml), &format!("{forged}{}", assertion(xml)))
    }),
    ("a second one of the same person, with other groups", |xml| {
        let forged = with_id(&bare(xml), "_evil").replace(">ops<", ">admins<");
        xml.replace(assertion(xml), &format!("{}{forged}", assertion(xml)))
    }),
    ("the signed one within the conditions of a forged one", |xml| {
        let forged = evil(xml).replace("</saml:Conditions>", &format!("{}</saml:Conditions>", assertion(xml)));
        xml.replace(assertion(xml), &forged)
    }),
    ("a forged one in a response around the response", |xml| {
        let outer = with_id(&xml.replace(assertion(xml), &evil(xml)), "_outer");
        outer.replace("</samlp:Response>", &format!("{xml}</samlp:Response>"))
    }),
];

#[tokio::test]
async fn wrappings_of_signed_assertions() {
    let sp = Sp::new().await;
    sp.sign_in().await;
    for (name, wrap) in OF_ASSERTIONS {
        let done = sp.with("", |_| {}, |xml| wrap(&xml)).await;
        refused(&sp.stage, name, done, "the provider's answer is refused").await;
    }
    sp.sign_in().await;
}

#[tokio::test]
async fn wrappings_of_signed_responses() {
    let sp = Sp::new().await;
    let whole = async |wrap: fn(&str) -> String| sp.with("", |_| {}, |xml| wrap(&sp.idp.sign(&xml, true))).await;
    for (name, wrap) in OF_RESPONSES {
        assert!(whole(str::to_owned).await.session.is_some(), "{name}: as it was signed");
        refused(&sp.stage, name, whole(wrap).await, "the provider's answer is refused").await;
    }
    // The response is signed and the assertion is not: whichever way it is wrapped, and as it is.
    let alone: Wrapping = ("a signed response alone", str::to_owned);
    for (name, wrap) in OF_RESPONSES.into_iter().chain([alone]) {
        let asked = sp.ask("saml", "").await;
        let signed = sp.idp.sign(&sp.says(&asked, "saml").response(), true);
        refused(&sp.stage, name, sp.bring(&asked, &wrap(&signed)).await, "the provider's answer is refused").await;
    }
    sp.sign_in().await;
}
