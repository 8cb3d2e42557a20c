use super::*;

/// RFC 7677, section 3.
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const CLIENT_FINAL: &str =
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn pencil() -> Verifier {
    let secret = SecretString::from("pencil");
    Verifier::with_salt(&secret, BASE64.decode(SALT).unwrap(), ITERATIONS).unwrap()
}

/// The client's side, for tests only: computes the proof as RFC 5802 says.
fn client_final(secret: &str, gs2: &str, binding: &[u8], bare: &str, server_first: &str) -> String {
    let nonce = server_first.strip_prefix("r=").unwrap().split(',').next().unwrap();
    let salt = server_first.split(",s=").nth(1).unwrap().split(',').next().unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        ITERATIONS,
        &BASE64.decode(salt).unwrap(),
        secret.as_bytes(),
        &mut salted,
    );
    let client_key = mac(&salted, b"Client Key");
    let c = BASE64.encode([gs2.as_bytes(), binding].concat());
    let without_proof = format!("c={c},r={nonce}");
    let signature = mac(&sha256(&client_key), format!("{bare},{server_first},{without_proof}").as_bytes());
    let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

fn rfc_challenge(first: &str) -> (Challenge, String) {
    ClientFirst::read(Mechanism::Plain, b"", first.as_bytes()).unwrap().challenge_with(pencil(), SERVER_NONCE)
}

#[test]
fn the_example_of_rfc_7677() {
    let (challenge, server_first) = rfc_challenge(CLIENT_FIRST);
    assert_eq!(server_first, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let proved = challenge.verify(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(proved.server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(proved.mechanism, Mechanism::Plain);
}

#[test]
fn verifiers_read_what_postgresql_writes() {
    // SELECT rolpassword … for the password `pencil` with that salt: PostgreSQL's form.
    let text = pencil().to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
    assert_eq!(text.parse::<Verifier>().unwrap(), pencil());
    let fresh = Verifier::derive(&SecretString::from("a secret")).unwrap();
    assert_eq!(fresh.to_string().parse::<Verifier>().unwrap(), fresh);
    assert_ne!(fresh, Verifier::derive(&SecretString::from("a secret")).unwrap());
    for bad in [
        "",
        "md5abc",
        "SCRAM-SHA-256$",
        "SCRAM-SHA-256$0:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA",
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$AAAA:AAAA",
        &text.replace("4096", "99999999"),
        &text.replace("4096", "-1"),
        &text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", ""),
        &text.replace("W22Z", "!!!!"),
    ] {
        assert_eq!(bad.parse::<Verifier>().unwrap_err(), VerifierError::Format, "{bad}");
    }
    for bad in ["", "pässword", "with\nbreak"] {
        assert_eq!(Verifier::derive(&SecretString::from(bad)).unwrap_err(), VerifierError::Secret);
    }
    assert!(!format!("{fresh:?}").contains(&BASE64.encode(fresh.stored_key)));
}

#[test]
fn plus_is_bound_to_the_certificate() {
    let gs2 = "p=tls-server-end-point,,";
    let bare = "n=,r=fyko+d2lbbFgONRv9qkxdawL";
    let run = |seen_by_gateway: &[u8], seen_by_client: &[u8], secret: &str| {
        let first = format!("{gs2}{bare}");
        let (challenge, server_first) =
            ClientFirst::read(Mechanism::Plus, seen_by_gateway, first.as_bytes()).unwrap().challenge(pencil()).unwrap();
        challenge.verify(client_final(secret, gs2, seen_by_client, bare, &server_first).as_bytes())
    };
    let proved = run(b"hash of the certificate", b"hash of the certificate", "pencil").unwrap();
    assert_eq!(proved.mechanism, Mechanism::Plus);
    assert_eq!(run(b"hash of the certificate", b"another", "pencil").unwrap_err(), ScramError::ChannelBinding);
    assert_eq!(run(b"hash of the certificate", b"", "pencil").unwrap_err(), ScramError::ChannelBinding);
    assert_eq!(run(b"hash", b"hash", "pen").unwrap_err(), ScramError::BadProof);
}

#[test]
fn an_exchange_cannot_be_replayed() {
    let (challenge, _) =
        ClientFirst::read(Mechanism::Plain, b"", CLIENT_FIRST.as_bytes()).unwrap().challenge(pencil()).unwrap();
    // The right proof of another exchange has another nonce.
    assert!(matches!(challenge.verify(CLIENT_FINAL.as_bytes()), Err(ScramError::Malformed(_))));
}

#[test]
fn hostile_first_messages() {
    use Mechanism::{Plain, Plus};
    let malformed: &[(Mechanism, &[u8], &[u8])] = &[
        (Plain, b"", b""),
        (Plain, b"", b"n"),
        (Plain, b"", b"n,"),
        (Plain, b"", b"n,,"),
        (Plain, b"", b"n,,n=user"),
        (Plain, b"", b"n,,n=user,"),
        (Plain, b"", b"n,,n=user,r="),
        (Plain, b"", b"n,,n=user,r=a b"),
        (Plain, b"", b"n,,n=user,r=caf\xc3\xa9"),
        (Plain, b"", b"n,,n=user,r=\xff\xfe"),
        (Plain, b"", b"n,,n=user,r=abc\0"),
        (Plain, b"", b"n,,r=abc,n=user"),
        (Plain, b"", b"n,,m=ext,n=user,r=abc"),
        (Plain, b"", b"n,a=admin,n=user,r=abc"),
        (Plain, b"", b"n,,n=user,r=abc,"),
        (Plain, b"", b"n,,n=user,r=abc,=x"),
        (Plain, b"", b"n,,n=user,r=abc,1=x"),
        (Plain, b"", b"x,,n=user,r=abc"),
        (Plain, b"", b"N,,n=user,r=abc"),
        (Plain, b"", b"nn,,n=user,r=abc"),
        (Plain, b"", b"p=tls-server-end-point,,n=,r=abc"),
        (Plus, b"hash", b"n,,n=,r=abc"),
        (Plus, b"hash", b"y,,n=,r=abc"),
        (Plus, b"hash", b"p=tls-unique,,n=,r=abc"),
        (Plus, b"hash", b"p=,,n=,r=abc"),
        (Plus, b"hash", b"p,,n=,r=abc"),
    ];
    for (mechanism, binding, message) in malformed {
        let error = ClientFirst::read(*mechanism, binding, message).unwrap_err();
        assert!(matches!(error, ScramError::Malformed(_)), "{message:?}: {error}");
    }
    let long = [b"n,,n=,r=".as_slice(), &[b'a'; MAX_MESSAGE_BYTES]].concat();
    assert!(ClientFirst::read(Plain, b"", &long).is_err());
    let downgraded = ClientFirst::read(Plain, b"hash", b"y,,n=,r=abc").unwrap_err();
    assert_eq!(downgraded, ScramError::Negotiation);
    let not_offered = ClientFirst::read(Plus, b"", b"p=tls-server-end-point,,n=,r=abc").unwrap_err();
    assert_eq!(not_offered, ScramError::UnknownMechanism);
    assert_eq!("PLAIN".parse::<Mechanism>().unwrap_err(), ScramError::UnknownMechanism);
    for fine in ["y,,n=,r=abc", "n,,n=user,r=abc,x=ignored", "n,,n=,r=%!()"] {
        ClientFirst::read(Plain, b"", fine.as_bytes()).unwrap();
    }
}

#[test]
fn hostile_final_messages() {
    let check = |message: &[u8], expect: fn(&ScramError) -> bool| {
        let (challenge, _) = rfc_challenge(CLIENT_FIRST);
        let error = challenge.verify(message).unwrap_err();
        assert!(expect(&error), "{}: {error:?}", String::from_utf8_lossy(message));
    };
    let malformed = |error: &ScramError| matches!(error, ScramError::Malformed(_));
    for cut in 0..CLIENT_FINAL.len() {
        // Cut inside the proof it is no longer 32 bytes, before it there is none.
        check(&CLIENT_FINAL.as_bytes()[..cut], malformed);
    }
    let replaced = |from: &str, to: &str| CLIENT_FINAL.replace(from, to).into_bytes();
    check(&replaced("c=biws", "c=!!!!"), malformed);
    check(&replaced("c=biws,", ""), malformed);
    check(&replaced("r=rOpr", "r=XOpr"), malformed);
    check(&replaced("$k0", "$k0x"), malformed);
    check(&replaced("$k0", ""), malformed);
    check(&replaced(",p=", ",p=,p="), malformed);
    check(&replaced(",p=", ",,p="), malformed);
    check(&replaced("VQ=", "VQ"), malformed);
    check(&[CLIENT_FINAL.as_bytes(), b"\0"].concat(), malformed);
    check(&[CLIENT_FINAL.as_bytes(), b",x=y"].concat(), malformed);
    check(&replaced("dHzb", "\u{fffd}"), malformed);
    check(&replaced("c=biws", "c=eSws"), |error| *error == ScramError::ChannelBinding);
    check(&replaced("p=dHzb", "p=AHzb"), |error| *error == ScramError::BadProof);
    // An extension is part of what is signed.
    check(&replaced(",p=", ",x=y,p="), |error| *error == ScramError::BadProof);
}

#[test]
fn a_decoy_looks_like_any_other_and_is_provable_by_nobody() {
    let server_secret = b"the server's secret";
    let decoy = Verifier::decoy(server_secret, "grt_unknown");
    assert_eq!(decoy, Verifier::decoy(server_secret, "grt_unknown"));
    assert_ne!(decoy.salt, Verifier::decoy(server_secret, "grt_other").salt);
    assert_ne!(decoy.salt, Verifier::decoy(b"another secret", "grt_unknown").salt);
    let real = Verifier::derive(&SecretString::from("x")).unwrap();
    assert_eq!((decoy.salt.len(), decoy.iterations), (real.salt.len(), real.iterations));
    let bare = "n=,r=abc";
    let (challenge, server_first) =
        ClientFirst::read(Mechanism::Plain, b"", b"n,,n=,r=abc").unwrap().challenge(decoy).unwrap();
    let message = client_final("anything", "n,,", b"", bare, &server_first);
    assert_eq!(challenge.verify(message.as_bytes()).unwrap_err(), ScramError::BadProof);
}

mod fuzz {
    use super::*;
    use postern_fuzz::{mangled, proptest, target, text};
    use proptest::prelude::*;

    fn flag() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["n", "y", "p=tls-server-end-point", "p=tls-unique", ""])
    }

    fn first() -> impl Strategy<Value = Vec<u8>> {
        (flag(), text("a=", 3), text("nr=,m", 12))
            .prop_map(|(flag, authzid, bare)| format!("{flag},{authzid},n=user,r=abc{bare}").into_bytes())
    }

    target!(fuzz_first_messages, (mangled(first()), any::<bool>(), any::<bool>()), |(message, plus, offered)| {
        let mechanism = if plus { Mechanism::Plus } else { Mechanism::Plain };
        let binding: &[u8] = if offered { b"hash" } else { b"" };
        if let Ok(read) = ClientFirst::read(mechanism, binding, &message) {
            prop_assert!(!plus || offered, "bound to a channel that was not offered");
            prop_assert!(!read.nonce.contains(',') && !read.nonce.is_empty());
            // What the client will be held to is what it said.
            let header = String::from_utf8(read.expected_binding.clone()).unwrap();
            let header = header.strip_suffix("hash").unwrap_or(&header);
            prop_assert_eq!(format!("{header}{}", read.bare).into_bytes(), message);
        }
        Ok(())
    });

    target!(fuzz_final_messages, mangled(Just(CLIENT_FINAL.as_bytes().to_vec())), |message| {
        let (challenge, _) = rfc_challenge(CLIENT_FIRST);
        // Nothing but the one right message proves anything.
        prop_assert_eq!(challenge.verify(&message).is_ok(), message == CLIENT_FINAL.as_bytes());
        Ok(())
    });

    target!(fuzz_verifiers, mangled(Just(pencil().to_string().into_bytes())), |verifier| {
        let verifier = String::from_utf8_lossy(&verifier).into_owned();
        if let Ok(read) = verifier.parse::<Verifier>() {
            prop_assert!(read.iterations.get() <= MAX_ITERATIONS && !read.salt.is_empty() && !read.decoy);
            prop_assert_eq!(read.to_string().parse::<Verifier>(), Ok(read));
        }
        Ok(())
    });
}
