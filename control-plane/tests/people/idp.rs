//! An identity provider that speaks SAML and says what a test wants, and browsers that bring it.

use crate::op::{Done, Stage};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use postern_types::time::Micros;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use saml_rs::{
    binding::{deflate_raw_decode, xml_escape},
    crypto::{construct_saml_signature, enc::encrypt_assertion, keys::load_private_key},
};
use serde_json::{Value, json};
use url::Url;

pub const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub const PERSISTENT: &str = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";
pub const BEARER: &str = "urn:oasis:names:tc:SAML:2.0:cm:bearer";
pub const SUCCESS: &str = "urn:oasis:names:tc:SAML:2.0:status:Success";
pub const AES_GCM: &str = "http://www.w3.org/2009/xmlenc11#aes128-gcm";
pub const AES_CBC: &str = "http://www.w3.org/2001/04/xmlenc#aes256-cbc";
pub const OAEP: &str = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";

pub struct Idp {
    pub entity: String,
    pub key: KeyPair,
    pub certificate: rcgen::Certificate,
}

impl Idp {
    pub fn new(entity: &str) -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(vec!["idp".to_owned()]).unwrap().self_signed(&key).unwrap();
        Self { entity: entity.to_owned(), key, certificate }
    }

    pub fn metadata(&self) -> String {
        let certificate = BASE64.encode(self.certificate.der());
        format!(
            "<md:EntityDescriptor xmlns:md=\"urn:oasis:names:tc:SAML:2.0:metadata\" xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" \
             entityID=\"{}\"><md:IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">\
             <md:KeyDescriptor use=\"signing\"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate>\
             </ds:X509Data></ds:KeyInfo></md:KeyDescriptor><md:SingleSignOnService \
             Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect\" Location=\"https://idp.example.com/sso?tenant=1\"/>\
             </md:IDPSSODescriptor></md:EntityDescriptor>",
            self.entity
        )
    }

    pub fn document(&self, name: &str) -> Value {
        json!({
            "kind": "IdentityProvider", "name": name, "groups": { "claim": "groups" },
            "saml": { "metadata": self.metadata(), "user": "uid", "email": "mail" },
        })
    }

    /// Signs the assertion in a response, or the whole.
    pub fn sign(&self, xml: &str, whole: bool) -> String {
        let key = load_private_key(&self.key.serialize_pem(), None).unwrap();
        construct_saml_signature(xml, whole, &key, &self.certificate.pem(), RSA_SHA256, &[], None).unwrap()
    }
}

/// What a provider says of somebody.
#[derive(Clone)]
pub struct Says {
    pub id: String,
    pub asked: Option<String>,
    pub confirmed_for: Option<String>,
    pub issuer: String,
    pub destination: Option<String>,
    pub recipient: Option<String>,
    pub audience: Option<String>,
    pub name_id: String,
    pub format: String,
    pub method: String,
    /// Seconds from now.
    pub not_before: i64,
    pub until: i64,
    pub confirmed_until: Option<i64>,
    pub session_until: Option<i64>,
    pub signed_in: i64,
    pub way: String,
    pub status: String,
    pub version: String,
    pub conditions: String,
    pub attributes: Vec<(&'static str, Vec<String>)>,
}

pub fn time(seconds: i64) -> String {
    let second = Micros::now().0 / 1_000_000 + seconds;
    jiff::Timestamp::from_second(second).unwrap().to_string()
}

fn attribute(name: &str, value: Option<&String>) -> String {
    value.map(|value| format!(" {name}=\"{}\"", xml_escape(value))).unwrap_or_default()
}

impl Says {
    pub fn assertion(&self) -> String {
        let audience = self.audience.as_ref().map(|audience| {
            format!("<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>")
        });
        let attributes: String = self
            .attributes
            .iter()
            .map(|(name, values)| {
                let values: String = values
                    .iter()
                    .map(|value| format!("<saml:AttributeValue>{}</saml:AttributeValue>", xml_escape(value)))
                    .collect();
                format!("<saml:Attribute Name=\"{name}\">{values}</saml:Attribute>")
            })
            .collect();
        format!(
            "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_a{id}\" Version=\"2.0\" \
             IssueInstant=\"{now}\"><saml:Issuer>{issuer}</saml:Issuer><saml:Subject><saml:NameID Format=\"{format}\">{name_id}\
             </saml:NameID><saml:SubjectConfirmation Method=\"{method}\"><saml:SubjectConfirmationData{confirmed_until}{recipient}\
             {confirmed_for}/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore=\"{not_before}\" \
             NotOnOrAfter=\"{until}\">{audience}{conditions}</saml:Conditions><saml:AuthnStatement AuthnInstant=\"{signed_in}\"\
             {session_until} SessionIndex=\"_s{id}\"><saml:AuthnContext><saml:AuthnContextClassRef>{way}</saml:AuthnContextClassRef>\
             </saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement>{attributes}</saml:AttributeStatement>\
             </saml:Assertion>",
            id = self.id,
            now = time(0),
            issuer = self.issuer,
            format = self.format,
            name_id = xml_escape(&self.name_id),
            method = self.method,
            confirmed_until = attribute("NotOnOrAfter", self.confirmed_until.map(time).as_ref()),
            recipient = attribute("Recipient", self.recipient.as_ref()),
            confirmed_for = attribute("InResponseTo", self.confirmed_for.as_ref()),
            not_before = time(self.not_before),
            until = time(self.until),
            audience = audience.unwrap_or_default(),
            conditions = self.conditions,
            signed_in = time(self.signed_in),
            session_until = attribute("SessionNotOnOrAfter", self.session_until.map(time).as_ref()),
            way = self.way,
        )
    }

    pub fn response(&self) -> String {
        format!(
            "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" \
             xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"_r{id}\" Version=\"{version}\" IssueInstant=\"{now}\"\
             {destination}{asked}><saml:Issuer>{issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value=\"{status}\"/>\
             </samlp:Status>{assertion}</samlp:Response>",
            id = self.id,
            version = self.version,
            now = time(0),
            destination = attribute("Destination", self.destination.as_ref()),
            asked = attribute("InResponseTo", self.asked.as_ref()),
            issuer = self.issuer,
            status = self.status,
            assertion = self.assertion(),
        )
    }
}

/// A question that was asked.
pub struct Asked {
    pub cookie: String,
    pub relay_state: String,
    pub xml: String,
    pub id: String,
}

/// A control plane whose people sign in at `saml`.
pub struct Sp {
    pub stage: Stage,
    pub idp: Idp,
}

impl Sp {
    pub async fn new() -> Self {
        let (stage, idp) = (Stage::new().await, Idp::new("https://idp.example.com/metadata"));
        stage.apply(vec![idp.document("saml")]).await;
        Self { stage, idp }
    }

    pub fn place(&self, provider: &str) -> String {
        self.stage.url(&format!("/saml/{provider}"))
    }

    /// Begins to sign in.
    pub async fn ask(&self, provider: &str, more: &str) -> Asked {
        let answer =
            self.stage.http.get(self.stage.url(&format!("/oauth/login/{provider}{more}"))).send().await.unwrap();
        assert_eq!(answer.status(), 303, "{more}");
        let location: Url = answer.headers()["location"].to_str().unwrap().parse().unwrap();
        assert!(location.as_str().starts_with("https://idp.example.com/sso?tenant=1&"), "{location}");
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        assert!(set.contains("; HttpOnly; SameSite=Lax"), "{set}");
        let query = |name: &str| location.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let xml = deflate_raw_decode(&BASE64.decode(query("SAMLRequest")).unwrap()).unwrap();
        let xml = String::from_utf8(xml).unwrap();
        let id = xml.split(" ID=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        Asked { cookie: set.split(';').next().unwrap().to_owned(), relay_state: query("RelayState"), xml, id }
    }

    /// What the provider says of Zoe.
    pub fn says(&self, asked: &Asked, provider: &str) -> Says {
        let place = self.place(provider);
        Says {
            id: asked.id.clone(),
            asked: Some(asked.id.clone()),
            confirmed_for: Some(asked.id.clone()),
            issuer: self.idp.entity.clone(),
            destination: Some(format!("{place}/acs")),
            recipient: Some(format!("{place}/acs")),
            audience: Some(format!("{place}/metadata")),
            name_id: "s1".to_owned(),
            format: PERSISTENT.to_owned(),
            method: BEARER.to_owned(),
            not_before: -5,
            until: 300,
            confirmed_until: Some(300),
            session_until: Some(3600),
            signed_in: 0,
            way: "phr".to_owned(),
            status: SUCCESS.to_owned(),
            version: "2.0".to_owned(),
            conditions: String::new(),
            attributes: vec![
                ("uid", vec!["zoe".to_owned()]),
                ("mail", vec!["zoe@example.com".to_owned()]),
                ("groups", vec!["ops".to_owned(), "dba".to_owned()]),
            ],
        }
    }

    /// A browser posts this, without a cookie: the form is another site's.
    pub async fn post(&self, provider: &str, relay_state: &str, response: &str) -> Done {
        let form = [("SAMLResponse", response), ("RelayState", relay_state)];
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.post_form(provider, form).await
    }

    pub async fn post_form(&self, provider: &str, form: String) -> Done {
        let request = self.stage.http.post(format!("{}/acs", self.place(provider)));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Done::of(request.body(form).send().await.unwrap()).await
    }

    /// The browser of this cookie comes for what was proved, if something was.
    pub async fn come(&self, posted: Done, cookie: Option<&str>) -> Done {
        let Some((path, code)) = posted.location.split_once("?code=") else { return posted };
        self.stage.back(path, cookie, &[("code", code)]).await
    }

    /// Brings an answer as it is meant to be brought.
    pub async fn bring(&self, asked: &Asked, xml: &str) -> Done {
        let posted = self.post("saml", &asked.relay_state, &BASE64.encode(xml)).await;
        self.come(posted, Some(&asked.cookie)).await
    }

    /// Signs in with what the provider says changed, and then what it has signed.
    pub async fn with(&self, more: &str, says: impl FnOnce(&mut Says), signed: impl FnOnce(String) -> String) -> Done {
        let asked = self.ask("saml", more).await;
        let mut said = self.says(&asked, "saml");
        says(&mut said);
        self.bring(&asked, &signed(self.idp.sign(&said.response(), false))).await
    }

    /// Signs in; gives the session's cookie.
    pub async fn sign_in(&self) -> String {
        let done = self.with("?return_to=/inbox", |_| {}, |xml| xml).await;
        assert_eq!((done.status, done.location.as_str()), (303, "/inbox"), "{}", done.text);
        done.session.unwrap()
    }

    /// The response, with its assertion encrypted for the control plane and the whole signed.
    pub async fn encrypted(&self, xml: &str, algorithm: &str) -> String {
        let metadata = self.stage.http.get(format!("{}/metadata", self.place("saml"))).send().await.unwrap();
        let metadata = metadata.text().await.unwrap();
        let (_, key) = metadata.split_once("use=\"encryption\"").unwrap();
        let certificate = key.split("X509Certificate>").nth(1).unwrap().split('<').next().unwrap();
        encrypt_assertion(xml, certificate, algorithm, OAEP, "saml").unwrap()
    }
}
