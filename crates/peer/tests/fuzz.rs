//! What a peer shows and says before anything of the tunnel: its certificate, its hello.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{mangled, proptest, target, text};
use postern_peer::{Kind, hello, tls};
use postern_proto::v1::TunnelWelcome;
use proptest::{collection::vec, prelude::*};
use rcgen::{CertificateParams, KeyPair, SanType};
use std::{
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

fn certificate(uris: &[String]) -> Option<Vec<u8>> {
    static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    for uri in uris {
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into().ok()?));
    }
    Some(params.self_signed(&*KEY).unwrap().der().to_vec())
}

fn uri() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["connector", "gateway", "control-plane", "root", ""]);
    let start = prop::sample::select(vec!["spiffe://postern/", "spiffe://other/", "https://postern/", ""]);
    (start, kind, text("con_01/.", 12)).prop_map(|(start, kind, id)| format!("{start}{kind}/{id}"))
}

target!(fuzz_identities, vec(uri(), 0..3), |uris| {
    let Some(certificate) = certificate(&uris) else { return Ok(()) };
    let expected = match &uris[..] {
        [only] => only.strip_prefix("spiffe://postern/").and_then(|rest| rest.split_once('/')),
        // Two identities would be none.
        _ => None,
    };
    let kind = |name| match name {
        "connector" => Some(Kind::Connector),
        "gateway" => Some(Kind::Gateway),
        "control-plane" => Some(Kind::ControlPlane),
        _ => None,
    };
    let expected = expected.and_then(|(name, id)| Some((kind(name)?, id.to_owned())));
    prop_assert_eq!(tls::peer(&certificate), expected);
    Ok(())
});

target!(
    fuzz_certificates,
    mangled(Just(certificate(&["spiffe://postern/connector/con_a".to_owned()]).unwrap())),
    |certificate| {
        if let Some((_, id)) = tls::peer(&certificate) {
            prop_assert!(certificate.windows(id.len()).any(|window| window == id.as_bytes()) || id.is_empty());
        }
        Ok(())
    }
);

/// Polls once what needs not wait, since it reads from and writes to memory.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("memory makes nobody wait"),
    }
}

/// What these bytes are heard as, and how many of them are taken.
fn hear(bytes: &[u8]) -> (Option<TunnelWelcome>, usize) {
    let mut rest = bytes;
    let heard = at_once(hello::hear(&mut rest)).ok();
    (heard, bytes.len() - rest.len())
}

fn said(welcome: &TunnelWelcome) -> Vec<u8> {
    let mut out = Vec::new();
    at_once(hello::say(&mut out, welcome)).unwrap();
    out
}

fn welcome() -> impl Strategy<Value = TunnelWelcome> {
    (text("gwy_01", 40), any::<u32>()).prop_map(|(gateway_id, workers)| TunnelWelcome { gateway_id, workers })
}

target!(fuzz_hellos, mangled(welcome().prop_map(|welcome| said(&welcome))), |bytes| {
    let (heard, taken) = hear(&bytes);
    prop_assert!(taken <= 2 + hello::MAX_BYTES);
    if let Some(heard) = heard {
        // Not a byte of what follows is taken.
        let length = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        prop_assert_eq!(taken, 2 + length);
        prop_assert_eq!(hear(&said(&heard)).0, Some(heard));
    }
    Ok(())
});

target!(fuzz_hellos_come_back, welcome(), |welcome| {
    prop_assert_eq!(hear(&[said(&welcome), vec![7; 9]].concat()).0, Some(welcome));
    Ok(())
});
