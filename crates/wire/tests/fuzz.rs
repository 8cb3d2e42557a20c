//! The parsers of what clients and servers send, on inputs of the right form and bent ones.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, too")]

use postern_fuzz::{cuts, mangled, proptest, target, text};
use postern_wire::{
    ProtocolError,
    backend::{self, BackendKey},
    error::{Report, Severity, field},
    frame::{self, Boundary, HEADER_BYTES, MAX_BODY_BYTES, put_cstr, put_message},
    frontend::{self, Target},
    startup::{self, MAX_STARTUP_BYTES, Startup, StartupMessage},
};
use proptest::{collection::vec, prelude::*};

fn startup_packet() -> impl Strategy<Value = Vec<u8>> {
    let word = || text("userdatabase_pq_.=", 12);
    let session = (0u16..4, vec((word(), word()), 0..6)).prop_map(|(minor, parameters)| {
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        startup::encode(minor, &parameters)
    });
    let cancel =
        (any::<i32>(), vec(any::<u8>(), 0..300)).prop_map(|(pid, secret)| startup::encode_cancel(pid, &secret));
    let gssenc = vec![0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
    prop_oneof![4 => session, 2 => cancel, 1 => Just(startup::encode_ssl_request().to_vec()), 1 => Just(gssenc)]
}

target!(fuzz_startup_packets, mangled(startup_packet()), |packet| {
    match startup::packet_length(&packet) {
        Ok(Some(length)) => prop_assert!((8..=MAX_STARTUP_BYTES).contains(&length)),
        Ok(None) => prop_assert!(packet.len() < 4),
        Err(_) => prop_assert!(startup::parse(&packet).is_err()),
    }
    // What is accepted is accepted in one form only: written again, it is the same bytes.
    match startup::parse(&packet) {
        Ok(Startup::Session(read)) => {
            let parameters: Vec<_> = read.parameters.iter().map(|(name, value)| (&**name, &**value)).collect();
            prop_assert_eq!(startup::encode(read.minor, &parameters), packet);
        }
        Ok(Startup::Cancel { pid, secret }) => {
            prop_assert!((1..=startup::MAX_CANCEL_SECRET_BYTES).contains(&secret.len()));
            prop_assert_eq!(startup::encode_cancel(pid, &secret), packet);
        }
        Ok(Startup::SslRequest | Startup::GssEncRequest) => prop_assert_eq!(packet.len(), 8),
        Err(_) => {}
    }
    Ok(())
});

target!(fuzz_startup_messages_come_back, (any::<u16>(), vec((text("user=", 9), text("demo-1", 20)), 0..9)), |(
    minor,
    parameters,
)| {
    let clean = |text: &str| text.split('\0').next().unwrap_or_default().to_owned();
    let parameters: Vec<_> = parameters.iter().map(|(name, value)| (clean(name), clean(value))).collect();
    let borrowed: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let read = startup::parse(&startup::encode(minor, &borrowed));
    // An empty name is the packet's end: what follows it makes the packet malformed.
    if parameters.iter().all(|(name, _)| !name.is_empty()) {
        prop_assert_eq!(read, Ok(Startup::Session(StartupMessage { minor, parameters })));
    } else {
        prop_assert!(read.is_err());
    }
    Ok(())
});

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let one = (prop::sample::select(&b"QPBEDCSHXdcfZTDCE"[..]), vec(any::<u8>(), 0..40));
    vec(one, 0..8).prop_map(|messages| {
        let mut out = Vec::new();
        for (tag, body) in messages {
            put_message(&mut out, tag, |out| out.extend_from_slice(&body));
        }
        out
    })
}

/// What follows from the headers alone: the error, or the bytes of the last message still to come and those of a
/// header that is not whole.
fn bounds(mut bytes: &[u8]) -> Result<(usize, usize), ProtocolError> {
    while let Some(header) = frame::header(bytes)? {
        if header.total() > bytes.len() {
            return Ok((header.total() - bytes.len(), 0));
        }
        bytes = &bytes[header.total()..];
    }
    Ok((0, bytes.len()))
}

target!(fuzz_message_bounds, (mangled(stream()), cuts()), |(stream, cuts)| {
    if let Ok(Some(header)) = frame::header(&stream) {
        prop_assert!(header.body <= MAX_BODY_BYTES);
    }
    let mut boundary = Boundary::default();
    let advanced = cuts.pieces(&stream).into_iter().try_for_each(|piece| boundary.advance(piece));
    match bounds(&stream) {
        Ok((remaining, of_header)) => {
            prop_assert_eq!(advanced, Ok(()));
            prop_assert_eq!(boundary.remaining(), remaining);
            prop_assert_eq!(boundary.is_at(), remaining == 0 && of_header == 0);
        }
        Err(error) => prop_assert_eq!(advanced, Err(error)),
    }
    Ok(())
});

/// A client's fields, written by the strategy rather than by the code under test.
fn client_body() -> impl Strategy<Value = Vec<u8>> {
    let cstr = || vec(1u8.., 0..12).prop_map(|text| [text, vec![0]].concat());
    let types = vec(any::<u32>(), 0..4).prop_map(|types| {
        let count = u16::try_from(types.len()).unwrap().to_be_bytes();
        [count.to_vec(), types.iter().flat_map(|oid| oid.to_be_bytes()).collect()].concat()
    });
    prop_oneof![
        cstr(),
        (cstr(), cstr(), types).prop_map(|(name, text, types)| [name, text, types].concat()),
        (cstr(), cstr(), vec(any::<u8>(), 0..20)).prop_map(|(portal, name, rest)| [portal, name, rest].concat()),
        (cstr(), any::<[u8; 4]>()).prop_map(|(portal, rows)| [&portal[..], &rows].concat()),
        (prop::sample::select(&b"SPx"[..]), cstr()).prop_map(|(kind, name)| [vec![kind], name].concat()),
    ]
}

target!(fuzz_client_messages, mangled(client_body()), |body| {
    if let Ok(text) = frontend::query(&body) {
        prop_assert_eq!([text, b"\0"].concat(), body.clone());
    }
    if let Ok(parse) = frontend::parse(&body) {
        let start = [parse.name, b"\0", parse.text, b"\0"].concat();
        prop_assert!(body.starts_with(&start) && !parse.name.contains(&0) && !parse.text.contains(&0));
        let types = usize::from(u16::from_be_bytes([body[start.len()], body[start.len() + 1]]));
        prop_assert_eq!(body.len(), start.len() + 2 + 4 * types);
    }
    if let Ok(bind) = frontend::bind(&body) {
        prop_assert!(body.starts_with(&[bind.portal, b"\0", bind.statement, b"\0"].concat()));
        // More of it makes no difference.
        let longer = [&body[..], b"\0more\0"].concat();
        prop_assert_eq!(frontend::bind(&longer), Ok(bind));
    }
    if let Ok((portal, rows)) = frontend::execute(&body) {
        prop_assert_eq!([portal, b"\0", &rows.to_be_bytes()].concat(), body.clone());
    }
    match frontend::target(b'D', &body) {
        Ok(Target::Statement(name)) => prop_assert_eq!([b"S", name, b"\0"].concat(), body),
        Ok(Target::Portal(name)) => prop_assert_eq!([b"P", name, b"\0"].concat(), body),
        Err(_) => {}
    }
    Ok(())
});

fn counted(parts: &[Vec<u8>]) -> Vec<u8> {
    [&u16::try_from(parts.len()).unwrap().to_be_bytes()[..], &parts.concat()].concat()
}

fn value(value: Option<&[u8]>) -> Vec<u8> {
    let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
    [&length.to_be_bytes()[..], value.unwrap_or_default()].concat()
}

fn server_body() -> impl Strategy<Value = Vec<u8>> {
    let field = prop::option::of(vec(any::<u8>(), 0..20)).prop_map(|field| value(field.as_deref()));
    let column = (vec(1u8.., 0..9), any::<[u8; 18]>()).prop_map(|(name, rest)| [&name[..], b"\0", &rest].concat());
    let tag = (text("INSERT0 ", 20), any::<u64>()).prop_map(|(word, rows)| format!("{word} {rows}\0").into_bytes());
    let key = (any::<[u8; 4]>(), vec(any::<u8>(), 0..260)).prop_map(|(pid, secret)| [&pid[..], &secret].concat());
    prop_oneof![
        vec(field, 0..6).prop_map(|fields| counted(&fields)),
        vec(column, 0..6).prop_map(|columns| counted(&columns)),
        tag,
        key,
    ]
}

target!(fuzz_server_messages, mangled(server_body()), |body| {
    if let Ok(values) = backend::data_row(&body) {
        let again: Vec<_> = values.into_iter().map(value).collect();
        prop_assert_eq!(counted(&again), body.clone());
    }
    if let Ok(columns) = backend::row_description(&body) {
        prop_assert_eq!(columns.len(), usize::from(u16::from_be_bytes([body[0], body[1]])));
        prop_assert!(body.len() >= 2 + 19 * columns.len());
    }
    if let Ok(key) = backend::backend_key(&body) {
        let BackendKey { pid, secret } = &key;
        prop_assert_eq!([&pid.to_be_bytes()[..], secret].concat(), body.clone());
        let mut again = Vec::new();
        backend::put_backend_key(&mut again, &key);
        prop_assert_eq!(&again[HEADER_BYTES..], &body[..]);
    }
    if let Some(rows) = backend::tag_rows(&body) {
        let tag = String::from_utf8_lossy(body.strip_suffix(b"\0").unwrap_or(&body)).into_owned();
        prop_assert_eq!(tag.rsplit_once(' ').and_then(|(_, last)| last.parse().ok()), Some(rows), "{}", tag);
    }
    Ok(())
});

fn report() -> impl Strategy<Value = Report> {
    let text = || text("grant ended\0\n", 20);
    (text(), text(), text(), text()).prop_map(|(sqlstate, message, detail, hint)| Report {
        sqlstate,
        message,
        detail,
        hint,
    })
}

target!(fuzz_reports_come_back, report(), |report| {
    let bytes = report.encode(Severity::Fatal);
    let header = frame::header(&bytes).unwrap().unwrap();
    prop_assert_eq!((header.tag, header.total()), (b'E', bytes.len()));
    let body = &bytes[HEADER_BYTES..];
    prop_assert_eq!(field(body, b'V'), Some(&b"FATAL"[..]));
    let fields = [(b'C', &report.sqlstate), (b'M', &report.message), (b'D', &report.detail), (b'H', &report.hint)];
    for (code, text) in fields {
        // What follows a NUL would be read as further fields: it does not go out.
        let until_nul = text.split('\0').next().unwrap_or_default();
        prop_assert_eq!(field(body, code), (!text.is_empty()).then_some(until_nul.as_bytes()));
    }
    Ok(())
});

target!(
    fuzz_error_fields,
    (mangled(report().prop_map(|report| report.encode(Severity::Error)[HEADER_BYTES..].to_vec())), any::<u8>()),
    |(body, code)| {
        for code in [code, b'C', b'V', b'M'] {
            if let Some(found) = field(&body, code) {
                let mut written = vec![code];
                put_cstr(&mut written, found);
                prop_assert!(code != 0 && body.windows(written.len()).any(|window| window == written));
            }
        }
        Ok(())
    }
);
