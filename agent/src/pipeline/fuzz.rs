//! The pipeline on any bytes of either side: however they are cut it goes the same way, and nothing goes on that was
//! not framed.

use super::{
    MAX_STATEMENT_BYTES,
    tests::{Course, Said, backend, parse, play, query},
};
use postern_fuzz::{Cuts, cuts, mangled, proptest, target, text};
use postern_wire::{
    error::{Report, Severity},
    frame::{self, Boundary, HEADER_BYTES},
    frontend,
};
use proptest::{collection::vec, prelude::*};

/// Messages of a client; now and then of a length at which a bound is.
fn client() -> impl Strategy<Value = Vec<u8>> {
    let name = || text("sc", 2);
    let long = prop::sample::select(vec![0usize, 8_191, 8_192, 8_193, 16_386, 65_535, 65_536, 65_537]);
    let one = prop_oneof![
        4 => text("SELECT 1;$", 12).prop_map(|text| query(&text)),
        3 => (name(), text("SELECT 1;$", 12)).prop_map(|(name, text)| parse(&name, &text)),
        3 => (name(), name(), vec(any::<u8>(), 0..40))
            .prop_map(|(portal, name, rest)| backend(b'B', &[portal.as_bytes(), b"\0", name.as_bytes(), b"\0", &rest].concat())),
        3 => name().prop_map(|portal| backend(b'E', &[portal.as_bytes(), &[0; 5]].concat())),
        2 => (prop::sample::select(&b"CD"[..]), prop::sample::select(&b"SP"[..]), name())
            .prop_map(|(tag, kind, name)| backend(tag, &[&[kind], name.as_bytes(), b"\0"].concat())),
        4 => prop::sample::select(&b"SHXc"[..]).prop_map(|tag| backend(tag, b"")),
        3 => vec(any::<u8>(), 0..60).prop_map(|data| backend(b'd', &data)),
        1 => Just(backend(b'F', &[0; 14])),
        1 => (prop::sample::select(&b"BECfPd"[..]), long)
            .prop_map(|(tag, length)| backend(tag, &[vec![b'n'; length], vec![0; 5]].concat())),
    ];
    mangled(vec(one, 0..10).prop_map(|messages| messages.concat()))
}

/// Messages of a server, in no order that one would send them in.
fn server() -> impl Strategy<Value = Vec<u8>> {
    let long = prop_oneof![9 => 0usize..50, 1 => 32_700usize..32_800];
    let one = prop_oneof![
        6 => (prop::sample::select(&b"TDdC123ntsIGHcNSK"[..]), vec(any::<u8>(), 0..30)).prop_map(|(tag, body)| backend(tag, &body)),
        3 => Just(backend(b'C', b"SELECT 2\0")),
        4 => Just(backend(b'Z', b"I")),
        2 => long.prop_map(|length| Report::new("42601", "x".repeat(length), "").encode(Severity::Error)),
    ];
    mangled(vec(one, 0..12).prop_map(|messages| messages.concat()))
}

fn cut_by(transcript: &[Said], cuts: &Cuts) -> Course {
    play(transcript, |_, bytes| cuts.pieces(bytes))
}

fn whole(transcript: &[Said]) -> Course {
    play(transcript, |_, bytes| vec![bytes])
}

/// What a server gets of a client's bytes, by the simplest framing there is.
fn framed(mut bytes: &[u8]) -> Vec<u8> {
    let refused = "REFUSED BY POSTERN";
    let mut out = Vec::new();
    while let Ok(Some(header)) = frame::header(bytes) {
        let too_large = header.body > MAX_STATEMENT_BYTES;
        let goes_on = match header.tag {
            b'P' if too_large => Some(parse("", refused)),
            b'Q' | b'F' if too_large => Some(query(refused)),
            b'F' if header.total() <= bytes.len() => Some(query(refused)),
            // Values pass as they come, after the names of a Bind, and the data of COPY.
            b'd' => Some(bytes[..header.total().min(bytes.len())].to_vec()),
            b'B' if frontend::bind(&bytes[HEADER_BYTES..]).is_ok() => {
                Some(bytes[..header.total().min(bytes.len())].to_vec())
            }
            _ => bytes.get(..header.total()).map(<[u8]>::to_vec),
        };
        out.extend(goes_on.unwrap_or_default());
        bytes = bytes.get(header.total()..).unwrap_or_default();
    }
    out
}

target!(fuzz_clients_bytes, (client(), cuts()), |(bytes, cuts)| {
    let transcript = [Said::Client(bytes.clone())];
    let (course, whole) = (cut_by(&transcript, &cuts), whole(&transcript));
    prop_assert!(course.agrees(&whole), "{course:?}\n{whole:?}");
    let framed = framed(&bytes);
    prop_assert!(framed.starts_with(&course.to_server), "bytes went on that were not framed");
    prop_assert!(course.error.is_some() || course.to_server == framed, "bytes were kept back");
    Ok(())
});

target!(fuzz_servers_bytes, (server(), cuts(), 0usize..4), |(bytes, cuts, refused)| {
    let before = [query("SELECT 1"), vec![backend(b'F', &[0; 14]); refused].concat(), query("SELECT 2")].concat();
    let transcript = [Said::Client(before), Said::Server(bytes.clone())];
    let (course, whole) = (cut_by(&transcript, &cuts), whole(&transcript));
    prop_assert!(course.agrees(&whole), "{course:?}\n{whole:?}");
    prop_assert!(refused > 0 || bytes.starts_with(&course.to_client), "bytes that the server did not send");
    // However it ended, it is known whether a last word would be one.
    let mut boundary = Boundary::default();
    prop_assert_eq!(boundary.advance(&course.to_client), Ok(()));
    prop_assert_eq!(boundary.is_at(), course.at_boundary);
    Ok(())
});

target!(fuzz_both_sides, (vec((client(), server()), 1..4), cuts()), |(turns, cuts)| {
    let transcript: Vec<_> =
        turns.into_iter().flat_map(|(client, server)| [Said::Client(client), Said::Server(server)]).collect();
    let (course, whole) = (cut_by(&transcript, &cuts), whole(&transcript));
    prop_assert!(course.agrees(&whole), "{course:?}\n{whole:?}");
    Ok(())
});
