//! Sessions with masked columns: what of results, errors and notices goes on, on bytes.

use super::{
    guarded::told,
    judged::{Fixture, data_row},
    tests::{READY, backend, bind_execute, failed, parse, query},
};
use postern_proto::v1::{ConnectionFacts, Mask, Masking, Tag, TagMask, audit_record::Record};

const PEOPLE: i32 = 16_420;

const EMAIL: &str = "SELECT id, email FROM people";

/// `people.email` is masked, but for whom policies permit to see it.
fn masked() -> Fixture {
    let tag =
        Tag { schema: "public".into(), relation: "people".into(), column: "email".into(), tag: "pii.email".into() };
    let mask = TagMask { tag: "pii.email".into(), mask: Mask::Redact.into(), ..TagMask::default() };
    Fixture::with("read", ConnectionFacts { tags: vec![tag], masks: vec![mask], ..ConnectionFacts::default() })
}

/// A RowDescription: of each column its table, number, type and format.
fn described(columns: &[(i32, i16, i32, i16)]) -> Vec<u8> {
    let mut body = i16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
    for (table, number, ty, format) in columns {
        body.extend(b"c\0");
        body.extend(table.to_be_bytes());
        body.extend(number.to_be_bytes());
        body.extend(ty.to_be_bytes());
        body.extend([0, 4, 255, 255, 255, 255]);
        body.extend(format.to_be_bytes());
    }
    backend(b'T', &body)
}

fn two() -> Vec<u8> {
    described(&[(PEOPLE, 1, 23, 0), (PEOPLE, 2, 25, 0)])
}

fn row(values: &[&str]) -> Vec<u8> {
    data_row(&values.iter().map(|value| Some((*value).to_owned())).collect())
}

fn complete() -> Vec<u8> {
    backend(b'C', b"SELECT 1\0")
}

fn failed_with(fields: &[(u8, &str)]) -> Vec<u8> {
    let body: Vec<u8> = fields.iter().flat_map(|(code, text)| [&[*code], text.as_bytes(), b"\0"].concat()).collect();
    backend(b'E', &[body, vec![0]].concat())
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn masking(fixture: &Fixture) -> Vec<Option<Masking>> {
    let ended = |record: postern_proto::v1::AuditRecord| match record.record {
        Some(Record::Ended(ended)) => Some(ended.masking),
        _ => None,
    };
    fixture.session.records().into_iter().filter_map(ended).collect()
}

/// What the client gets of this answer to a Query of this text, however it is cut.
fn shown(text: &str, answer: &[u8]) -> Vec<u8> {
    let all: Vec<_> = [1, 2, 7, 64, answer.len()]
        .into_iter()
        .map(|piece| {
            let mut fixture = masked();
            assert_eq!(fixture.session.client(&query(text)), query(text));
            fixture.session.server(answer, piece)
        })
        .collect();
    assert!(all.windows(2).all(|two| two[0] == two[1]), "{text}: it depends on how it is cut");
    all.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_query_shows_no_masked_value() {
    let answer = [two(), row(&["1", "secret"]), row(&["2", "secret"]), complete(), READY.to_vec()].concat();
    let expect = [two(), row(&["1", "[redacted]"]), row(&["2", "[redacted]"]), complete(), READY.to_vec()].concat();
    assert_eq!(shown(EMAIL, &answer), expect);
    // What derives from it, in a column that comes from no table.
    let derived = "SELECT id, coalesce(email, 'x') FROM people";
    let other = described(&[(PEOPLE, 1, 23, 0), (7, 2, 25, 0)]);
    let refused = shown(derived, &[other, row(&["1", "secret"]), failed("57014"), READY.to_vec()].concat());
    assert!(!has(&refused, "secret") && told(&refused).contains("0A000"));
    let untouched = "SELECT id FROM orders";
    let plain = [described(&[(0, 0, 23, 0)]), row(&["secret"]), complete(), READY.to_vec()].concat();
    assert_eq!(shown(untouched, &plain), plain);
    // What was found to touch nothing masked, and the server says that it does.
    let renamed = [described(&[(PEOPLE, 2, 25, 0)]), row(&["secret"]), failed("57014"), READY.to_vec()].concat();
    let refused = shown(untouched, &renamed);
    assert!(!has(&refused, "secret") && told(&refused).contains("0A000"));
}

#[tokio::test]
async fn an_execute_is_described_first_and_the_client_sees_nothing_of_that() {
    for (format, value, piece) in [(0, "[redacted]", 1), (1, "[redacted]", 5), (1, "[redacted]", 4096)] {
        let mut fixture = masked();
        let sent = fixture.session.client(&[parse("s", EMAIL), bind_execute("s"), bind_execute("s")].concat());
        let describe = backend(b'D', b"P\0");
        let execute = backend(b'E', &[0; 5]);
        assert!(sent.ends_with(&[describe.clone(), execute.clone(), backend(b'H', b"")].concat()));
        let description = described(&[(PEOPLE, 1, 23, 0), (PEOPLE, 2, 25, format)]);
        let begins = [backend(b'1', b""), backend(b'2', b"")].concat();
        let answer = [begins.clone(), description.clone(), row(&["1", "secret"]), complete()].concat();
        let expect = [begins, row(&["1", value]), complete()].concat();
        assert_eq!(fixture.session.server(&answer, piece), expect);
        // Executed again, it is described again.
        let again = fixture.session.go_on();
        assert!(again.starts_with(b"S\0\0\0\x04B") && has(&again, "D\0\0\0\x06P\0E"));
        let answer = [READY.to_vec(), backend(b'2', b""), description, row(&["2", "secret"]), complete()].concat();
        let expect = [READY.to_vec(), backend(b'2', b""), row(&["2", value]), complete()].concat();
        assert_eq!(fixture.session.server(&answer, piece), expect);
        let masking = masking(&fixture);
        assert_eq!(masking.iter().map(|ended| ended.as_ref().unwrap().values).collect::<Vec<_>>(), [1, 1]);
        let column = &masking[0].as_ref().unwrap().columns[0];
        assert_eq!((column.columns.as_slice(), column.values), (&["public.people.email".to_owned()][..], 1));
    }
}

#[tokio::test]
async fn what_carries_no_tag_is_looked_through() {
    let looks = || ConnectionFacts { detectors: vec!["email".into()], ..ConnectionFacts::default() };
    let address = "to kim@a.example";
    for (facts, shown) in [(ConnectionFacts::default(), address), (looks(), "to [email]")] {
        let mut fixture = Fixture::with("read", facts);
        for text in ["SELECT id FROM orders", "SELECT 'x'", "SHOW server_version", "EXPLAIN SELECT 1"] {
            fixture.session.client(&query(text));
            let answer = |value| [described(&[(0, 0, 25, 0)]), row(&[value]), complete(), READY.to_vec()].concat();
            assert_eq!(fixture.session.server(&answer(address), 3), answer(shown), "{text}");
        }
        let found = |masking: Option<Masking>| masking.map(|it| (it.values, it.detected[0].found));
        let masking: Vec<_> = masking(&fixture).into_iter().map(found).collect();
        assert_eq!(masking, [(shown != address).then_some((1, 1)); 4]);
        // A type in which nothing is looked for passes.
        fixture.session.client(&query("SELECT id FROM orders"));
        let answer = [described(&[(16_400, 1, 23, 0)]), row(&[address]), complete(), READY.to_vec()].concat();
        assert_eq!(fixture.session.server(&answer, 3), answer);
    }
    // A name that is not known is all of them.
    let mut fixture =
        Fixture::with("read", ConnectionFacts { detectors: vec!["new".into()], ..ConnectionFacts::default() });
    fixture.session.client(&query("SELECT 'x'"));
    let answer = [described(&[(0, 0, 25, 0)]), row(&[address]), complete(), READY.to_vec()].concat();
    assert!(!has(&fixture.session.server(&answer, 3), "kim"));
}

#[tokio::test]
async fn what_is_described_otherwise_than_understood_is_not_shown() {
    let agrees = |columns: &[(i32, i16, i32, i16)]| {
        let values: Vec<_> = columns.iter().map(|_| "secret").collect();
        let answer = [described(columns), row(&values), row(&values), failed("57014"), READY.to_vec()].concat();
        let out = shown(EMAIL, &answer);
        let agrees = has(&out, "[redacted]");
        assert!(agrees != told(&out).contains("0A000"), "{columns:?}");
        assert!(agrees || !has(&out, "secret"), "{columns:?}");
        agrees
    };
    assert!(agrees(&[(PEOPLE, 1, 23, 0), (PEOPLE, 2, 25, 0)]));
    // The server does not trace a column through everything.
    assert!(agrees(&[(0, 0, 23, 0), (0, 0, 25, 0)]));
    for otherwise in [
        &[(PEOPLE, 1, 23, 0)][..],
        &[(PEOPLE, 1, 23, 0), (PEOPLE, 2, 25, 0), (0, 0, 25, 0)],
        &[(PEOPLE, 2, 23, 0), (PEOPLE, 2, 25, 0)],
        &[(PEOPLE, 2, 25, 0), (PEOPLE, 1, 23, 0)],
        &[(PEOPLE + 1, 1, 23, 0), (PEOPLE, 2, 25, 0)],
        &[(PEOPLE, 1, 20, 0), (PEOPLE, 2, 25, 0)],
    ] {
        assert!(!agrees(otherwise), "{otherwise:?}");
    }
}

#[tokio::test]
async fn rows_that_nothing_described_are_not_shown() {
    let mut fixture = masked();
    fixture.session.client(&[parse("", EMAIL), bind_execute("")].concat());
    let answer = [backend(b'1', b""), backend(b'2', b""), backend(b'n', b""), row(&["1", "secret"])].concat();
    let out = fixture.session.server(&answer, 3);
    assert_eq!(out, [backend(b'1', b""), backend(b'2', b"")].concat());
    assert_eq!(fixture.session.due(), (Vec::new(), true), "it is cancelled");
    assert!(told(&fixture.session.server(&failed("57014"), 9)).contains("0A000"));
    // Nor COPY data.
    let data = [backend(b'H', &[0, 0, 2, 0, 0, 0, 0]), backend(b'd', b"1\tsecret\n"), failed("57014"), READY.to_vec()];
    assert!(!has(&shown(EMAIL, &data.concat()), "secret"));
}

#[tokio::test]
async fn each_statement_of_a_string_has_its_own_result() {
    let text = "SELECT id FROM orders; SELECT email FROM people; SELECT id FROM orders";
    let plain = [described(&[(16_400, 1, 23, 0)]), row(&["7"]), complete()].concat();
    let email = |value| [described(&[(PEOPLE, 2, 25, 0)]), row(&[value]), complete()].concat();
    let answer = [plain.clone(), email("secret"), plain.clone(), READY.to_vec()].concat();
    assert_eq!(shown(text, &answer), [plain.clone(), email("[redacted]"), plain.clone(), READY.to_vec()].concat());
    // One more than there are statements, or a second one of the same.
    let more = [plain.clone(), email("secret"), plain.clone(), email("secret"), READY.to_vec(), failed("42601")];
    assert!(!has(&shown(text, &more.concat()), "secret"));
    let result = email("secret");
    let result = result.strip_suffix(complete().as_slice()).unwrap();
    let second = [plain, result.repeat(2), complete(), READY.to_vec(), failed("42601")].concat();
    assert!(!has(&shown(text, &second), "secret"));
}

#[tokio::test]
async fn copied_data_is_masked_as_rows_are() {
    let begins = |format: u8| backend(b'H', &[format, 0, 2, 0, format, 0, format]);
    let ends = [backend(b'c', b""), backend(b'C', b"COPY 2\0"), READY.to_vec()].concat();
    for (options, separator, format) in [("", "\t", 0), ("WITH (FORMAT csv)", ",", 0), ("WITH (FORMAT binary)", "", 1)]
    {
        let text = format!("COPY people TO STDOUT {options}");
        let row = |value: &str| match format {
            0 => backend(b'd', format!("1{separator}{value}\n").as_bytes()),
            _ => {
                let length = u8::try_from(value.len()).unwrap();
                backend(b'd', &[&[0, 2, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, length], value.as_bytes()].concat())
            }
        };
        let starts = if format == 1 { backend(b'd', b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0") } else { Vec::new() };
        let all = |value| [begins(format), starts.clone(), row(value), row(value), ends.clone()].concat();
        assert_eq!(shown(&text, &all("secret")), all("[redacted]"), "{text}");
        // As many columns as were understood, and no other format of rows.
        let three = [backend(b'H', &[0, 0, 3, 0, 0, 0, 0, 0, 0]), row("secret"), failed("57014"), READY.to_vec()];
        assert!(!has(&shown(&text, &three.concat()), "secret"), "{text}");
        let rows = [begins(format), data_row(&vec![Some("secret".to_owned())]), failed("57014"), READY.to_vec()];
        assert!(!has(&shown(&text, &rows.concat()), "secret"), "{text}");
    }
    let plain = [backend(b'H', &[0, 0, 1, 0, 0]), backend(b'd', b"secret\n"), ends].concat();
    assert_eq!(shown("COPY orders TO STDOUT", &plain), plain);
}

#[tokio::test]
async fn a_portal_is_described_for_each_of_its_parts() {
    let mut fixture = masked();
    fixture.session.client(&[parse("", EMAIL), bind_execute("")].concat());
    let begins = [backend(b'1', b""), backend(b'2', b"")].concat();
    for (before, value) in [(begins.as_slice(), "secret"), (READY, "secret")] {
        let answer = [before, &two(), &row(&["1", value]), &backend(b's', b"")].concat();
        let expect = [before, &row(&["1", "[redacted]"]), &backend(b's', b"")].concat();
        assert_eq!(fixture.session.server(&answer, 2), expect);
        fixture.session.client(&[backend(b'E', &[0; 5]), backend(b'S', b"")].concat());
        assert!(has(&fixture.session.go_on(), "D\0\0\0\x06P\0E"));
    }
}

#[tokio::test]
async fn errors_and_notices_of_what_is_masked_are_withheld() {
    let text = "SELECT email FROM people";
    let error = failed_with(&[(b'V', "ERROR"), (b'C', "22P02"), (b'M', "invalid input: secret")]);
    let notice = backend(b'N', &error[5..]);
    let answer = [notice.clone(), error.clone(), READY.to_vec()].concat();
    let out = shown(text, &answer);
    assert!(!has(&out, "secret") && !has(&out, "22P02") && told(&out).contains("22000") && out.ends_with(READY));
    // The twin of another table says what the server says.
    assert_eq!(shown("SELECT id::int FROM orders", &answer), answer);
    // So does one that is not about values.
    let missing = failed_with(&[(b'V', "ERROR"), (b'C', "42703"), (b'M', "no such column"), (b'P', "8")]);
    let answer = [missing, READY.to_vec()].concat();
    assert_eq!(shown(text, &answer), answer);
    // What is long comes in pieces, and none of it goes on.
    let long = failed_with(&[(b'V', "ERROR"), (b'C', "57014"), (b'M', &"secret".repeat(9_000))]);
    assert!(!has(&shown(text, &[long, READY.to_vec()].concat()), "secret"));
}

#[tokio::test]
async fn what_speaks_up_at_the_end_of_a_transaction_is_withheld() {
    let error = failed_with(&[(b'V', "ERROR"), (b'C', "23503"), (b'M', "violates"), (b'D', "Key (email)=(secret)")]);
    let answer = [error.clone(), READY.to_vec()].concat();
    let out = shown("COMMIT", &answer);
    assert!(!has(&out, "secret") && told(&out).contains("23503"));
    // Likewise where a Sync is the end.
    let mut fixture = masked();
    fixture.session.client(&[parse("", "SELECT id FROM orders"), bind_execute("")].concat());
    let description = described(&[(16_400, 1, 23, 0)]);
    fixture.session.server(&[backend(b'1', b""), backend(b'2', b""), description, complete()].concat(), 3);
    assert_eq!(fixture.session.go_on(), backend(b'S', b""));
    let out = fixture.session.server(&answer, 3);
    assert!(!has(&out, "secret") && told(&out).contains("23503") && out.ends_with(READY));
    // Nobody has anything masked there.
    let mut fixture = Fixture::with("read", ConnectionFacts::default());
    fixture.session.client(&query("COMMIT"));
    assert_eq!(fixture.session.server(&answer, 3), answer);
}

#[tokio::test]
async fn what_a_function_raises_when_it_is_planned_is_withheld() {
    let text = "SELECT id FROM orders";
    let error = |context| failed_with(&[(b'V', "ERROR"), (b'C', "22P02"), (b'M', "it is: secret"), (b'W', context)]);
    for (context, withheld) in [("unnamed portal with parameter $1", false), ("SQL function \"f\"", true)] {
        let mut fixture = masked();
        fixture.session.client(&[parse("", text), bind_execute("")].concat());
        let answer = [backend(b'1', b""), error(context), READY.to_vec()].concat();
        let out = fixture.session.server(&answer, 3);
        assert_eq!((has(&out, "secret"), out == answer), (!withheld, !withheld), "{context}");
    }
}

#[tokio::test]
async fn it_is_decided_again_whenever_it_runs() {
    let mut fixture = masked();
    let permits = "@id(\"all\") permit (principal, action, resource) when { resource.connection == \"demo\" };";
    fixture.apply(permits);
    let sent = fixture.session.client(&[parse("s", EMAIL), bind_execute("s")].concat());
    assert!(has(&sent, "D\0\0\0\x06P\0E"), "nothing of it is masked, which the server has to confirm");
    let begins = [backend(b'1', b""), backend(b'2', b"")].concat();
    let rest = [row(&["1", "shown"]), complete()].concat();
    let answer = [begins.as_slice(), &two(), &rest].concat();
    assert_eq!(fixture.session.server(&answer, 3), [begins, rest].concat());
    fixture.session.go_on();
    fixture.session.server(READY, 1);
    let shown = masking(&fixture).remove(0).unwrap().shown;
    assert_eq!(
        (shown[0].column.as_str(), shown[0].policies.as_slice()),
        ("public.people.email", &["all".to_owned()][..])
    );
    fixture.apply("@id(\"a\") permit (principal, action in Action::\"statement\", resource); @id(\"c\") permit (principal, action == Action::\"connect\", resource);");
    fixture.session.client(&bind_execute("s"));
    let answer = [backend(b'2', b""), two(), row(&["1", "secret"]), complete()].concat();
    assert_eq!(
        fixture.session.server(&answer, 3),
        [backend(b'2', b""), row(&["1", "[redacted]"]), complete()].concat()
    );
}

#[tokio::test]
async fn a_row_that_is_not_one_ends_the_session() {
    let mut fixture = masked();
    fixture.session.client(&query(EMAIL));
    fixture.session.server(&two(), 64);
    assert!(fixture.session.ends_at(&backend(b'D', b"\0\x02\0\0\0\x01")));
}
