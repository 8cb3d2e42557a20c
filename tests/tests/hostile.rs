//! Any bytes, at every listener, before and after authentication: an error or a close, and the next client is
//! served. Through all of it the process stays small.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    cluster::{APP_PASSWORD, Cluster},
    dev::Dev,
    raw::{self, CANCEL_REQUEST, GSSENC_REQUEST, Login, Raw, SSL_REQUEST, Tls},
    wait,
};
use std::{
    io::Read,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A listener has this long to be done with somebody who has said all that he will say.
const CLOSES_WITHIN: Duration = Duration::from_secs(15);

/// The next client is served in this time.
const SERVES_WITHIN: Duration = Duration::from_secs(5);

/// The promise: growth through some hundreds of hostile inputs.
const MAX_GROWTH: u64 = 64 << 20;
const MAX_DESCRIPTORS: usize = 5;

/// Sockets that say nothing, or nearly nothing, and stay.
const IDLERS: usize = 100;

struct Fixture {
    dev: Dev,
    login: Login,
    inputs: usize,
}

impl Fixture {
    async fn open(&self) -> Raw {
        let mut raw = Raw::connect(self.dev.pg_port, Tls::None).await;
        raw.login(&self.login).await.unwrap();
        raw
    }

    /// The next client is served.
    async fn serves(&mut self, after: &str) {
        self.inputs += 1;
        let served = async {
            let mut raw = self.open().await;
            assert_eq!(raw.text("select 'served'").await, "served");
            raw.send(&raw::message(b'X', &[])).await;
            raw.until_closed().await;
        };
        wait::within(&format!("the next client is served after {after}"), SERVES_WITHIN, served).await;
        self.dev.process().assert_running();
    }

    /// Sends bytes to a port, then nothing more; what comes back, until the other side closes.
    async fn throw(&self, port: u16, bytes: &[u8], what: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        // The other side may have closed before it got everything: that is its right.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let closed = stream.read_to_end(&mut answer);
        let _ = wait::within(&format!("port {port} closes after {what}"), CLOSES_WITHIN, closed).await;
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes() {
    let cluster = Cluster::start().await;
    let url = cluster.app_url_without_password();
    let mut dev = Dev::start_with(&["--postgres", &url], &[("PGPASSWORD", APP_PASSWORD)]);
    let login = Login::of_url(&dev.grant("all", "1h").url);
    let ports = listening(dev.process().pid());
    assert!(ports.contains(&dev.pg_port) && ports.len() >= 4, "{ports:?}");
    let mut fixture = Fixture { dev, login, inputs: 0 };
    fixture.serves("nothing").await;
    let before = (fixture.dev.process().resident_bytes(), fixture.dev.process().descriptors());
    let idlers = idlers(&ports).await;
    before_authentication(&mut fixture).await;
    truncated_start_ups(&mut fixture).await;
    during_authentication(&mut fixture).await;
    after_authentication(&mut fixture).await;
    other_listeners(&mut fixture, &ports).await;
    fixture.serves("idle sockets").await;
    drop(idlers);
    right_among_wrong(&mut fixture).await;
    eprintln!("{} hostile inputs", fixture.inputs);
    assert!(fixture.inputs > 300, "{}", fixture.inputs);
    let most = before.1.len() + MAX_DESCRIPTORS;
    let start = Instant::now();
    wait::until("descriptors are given back", Duration::from_secs(60), || {
        let now = fixture.dev.process().descriptors();
        assert!(start.elapsed() < CLOSES_WITHIN || now.len() <= most, "{:#?}\nthen\n{now:#?}", before.1);
        async move { (now.len() <= most).then_some(()) }
    })
    .await;
    let after = fixture.dev.process().resident_bytes();
    eprintln!("resident: {} MiB, then {} MiB", before.0 >> 20, after >> 20);
    assert!(after < before.0 + MAX_GROWTH, "it grew from {} to {} MiB", before.0 >> 20, after >> 20);
    let log = fixture.dev.log();
    assert!(!log.contains("panicked"), "{log}");
    // All of it together has left no session behind.
    let admin = fixture.dev.admin();
    wait::until("no session is left", Duration::from_secs(15), || async {
        let left = admin.run(&["sessions", "--json"]).json();
        (left.as_array().unwrap().is_empty()).then_some(())
    })
    .await;
}

/// The ports on which a process listens.
fn listening(pid: u32) -> Vec<u16> {
    let mut inodes = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let link = std::fs::read_link(entry.unwrap().path()).unwrap_or_default();
        let link = link.to_string_lossy().into_owned();
        if let Some(inode) = link.strip_prefix("socket:[") {
            inodes.push(inode.trim_end_matches(']').to_owned());
        }
    }
    let mut table = String::new();
    std::fs::File::open(format!("/proc/{pid}/net/tcp")).unwrap().read_to_string(&mut table).unwrap();
    let mut ports = Vec::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // 0A is LISTEN.
        if fields[3] == "0A" && inodes.iter().any(|inode| inode == fields[9]) {
            ports.push(u16::from_str_radix(fields[1].split_once(':').unwrap().1, 16).unwrap());
        }
    }
    ports
}

/// Slow-loris: some say nothing, some say a byte of what would be valid.
async fn idlers(ports: &[u16]) -> Vec<TcpStream> {
    let mut idlers = Vec::new();
    for i in 0..IDLERS {
        let port = ports[i % ports.len()];
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        if i % 2 == 0 {
            let first: &[u8] = [&[0x16, 3, 1][..], &[0, 0, 0], &[0, 0, 0, 80, 0, 3, 0, 0], b"GET "][i / 2 % 4];
            stream.write_all(first).await.unwrap();
        }
        idlers.push(stream);
    }
    idlers
}

/// Bytes without an order that anybody would find, the same in each run.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

async fn before_authentication(fixture: &mut Fixture) {
    let port = fixture.dev.pg_port;
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    for seed in 0..60 {
        let length = [1, 3, 4, 7, 8, 9, 100, 5000, 70_000][usize::try_from(seed % 9).unwrap()];
        inputs.push((format!("noise {seed}"), noise(seed + 1, length)));
    }
    for length in [0u32, 1, 3, 4, 7, 8, 9, 10_000, 10_001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let mut bytes = length.to_be_bytes().to_vec();
        inputs.push((format!("a length of {length} alone"), bytes.clone()));
        bytes.extend_from_slice(&[0, 3, 0, 0]);
        bytes.extend(vec![b'a'; 20_000]);
        inputs.push((format!("a length of {length}"), bytes));
    }
    for code in [SSL_REQUEST, GSSENC_REQUEST, CANCEL_REQUEST, 0, -1, 0x0004_0000, 0x0003_0000, 1234 << 16] {
        inputs.push((format!("code {code} alone"), raw::packet(&code.to_be_bytes())));
        let body = [&code.to_be_bytes()[..], &noise(7, 300)].concat();
        inputs.push((format!("code {code} and noise"), raw::packet(&body)));
    }
    let gss = raw::packet(&GSSENC_REQUEST.to_be_bytes());
    inputs.push(("a thousand GSSENCRequests".to_owned(), gss.repeat(1000)));
    let ssl = raw::packet(&SSL_REQUEST.to_be_bytes());
    inputs.push(("SSLRequest and more in clear".to_owned(), [&ssl[..], &fixture.login.packet()].concat()));
    inputs.push(("SSLRequest and noise as TLS".to_owned(), [&ssl[..], &noise(3, 3000)].concat()));
    for record in [[0x16, 3, 1, 0xff, 0xff], [0x16, 3, 3, 0, 0], [0x15, 3, 3, 0, 2], [0x17, 3, 3, 0x40, 0]] {
        inputs.push(("a TLS record of noise".to_owned(), [&record[..], &noise(5, 20_000)].concat()));
    }
    for (name, body) in [
        ("no end", &b"user\0x"[..]),
        ("no value", b"user\0"),
        ("more after the end", b"user\0x\0\0user\0y\0\0"),
        ("no UTF-8", b"user\0\xff\xfe\0\0"),
        ("no user", b"database\0demo\0\0"),
        ("nothing", b""),
        ("empty names", b"\0\0\0\0"),
    ] {
        let body = [&[0, 3, 0, 0][..], body].concat();
        inputs.push((format!("a start-up with {name}"), raw::packet(&body)));
    }
    let many: Vec<u8> = (0..1500).flat_map(|i| format!("p{i}\0\0").into_bytes()).collect();
    inputs
        .push(("a start-up with many parameters".to_owned(), raw::packet(&[&[0, 3, 0, 0][..], &many, &[0]].concat())));
    inputs.push(("HTTP".to_owned(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()));
    for (name, bytes) in inputs {
        let answer = fixture.throw(port, &bytes, &name).await;
        assert!(answer.len() < 4096, "{name}: {answer:?}");
        fixture.serves(&name).await;
    }
}

/// A valid start-up, ended after each of its bytes.
async fn truncated_start_ups(fixture: &mut Fixture) {
    let port = fixture.dev.pg_port;
    let packet = fixture.login.packet();
    for length in 0..packet.len() {
        fixture.throw(port, &packet[..length], &format!("{length} bytes of a start-up")).await;
        // Half of them each time would do as well; a tenth keeps the time down.
        if length % 5 == 0 {
            fixture.serves(&format!("{length} bytes of a start-up")).await;
        }
    }
    // The same bytes one by one are a client like any other.
    let mut raw = Raw::connect(port, Tls::None).await;
    for byte in &packet {
        raw.send(&[*byte]).await;
    }
    assert_eq!(raw.read().await.tag, b'R');
}

async fn during_authentication(fixture: &mut Fixture) {
    let port = fixture.dev.pg_port;
    let initial = |mechanism: &str, length: i32, data: &[u8]| {
        raw::message(b'p', &[&raw::cstr(mechanism)[..], &length.to_be_bytes(), data].concat())
    };
    let mut inputs = vec![
        ("a query", raw::query("select 1")),
        ("a terminate", raw::message(b'X', &[])),
        ("an unknown message", raw::message(b'!', b"x")),
        ("an empty response", raw::message(b'p', &[])),
        ("a mechanism that was not offered", initial("SCRAM-SHA-1", 5, b"n,,n=")),
        ("plus without TLS", initial("SCRAM-SHA-256-PLUS", 5, b"n,,n=")),
        ("a length that lies", initial("SCRAM-SHA-256", 500, b"n,,n=,r=x")),
        ("a negative length", initial("SCRAM-SHA-256", -5, b"n,,n=,r=x")),
        ("no nonce", initial("SCRAM-SHA-256", 5, b"n,,n=")),
        ("noise for SCRAM", initial("SCRAM-SHA-256", 50, &noise(9, 50))),
        ("a huge response", [&b"p\x7f\xff\xff\xff"[..], &noise(4, 9000)].concat()),
        ("an impossible length", b"p\x00\x00\x00\x01".to_vec()),
        ("half a response", b"p\x00\x00\x00\x40SCRAM".to_vec()),
    ];
    let first = initial("SCRAM-SHA-256", 19, b"n,,n=,r=clientnonce");
    for last in [&b"c=biws,r=wrong,p=AAAA"[..], b"", b"c=biws", b"\xff\xff", b"c=biws,r=clientnonce,p="] {
        inputs.push(("a final message of nonsense", [first.clone(), raw::message(b'p', last)].concat()));
    }
    inputs.push(("a query after the first message", [first, raw::query("select 1")].concat()));
    for (name, bytes) in inputs {
        for tls in [Tls::None, Tls::Negotiated] {
            let mut raw = Raw::connect(port, tls).await;
            raw.send(&fixture.login.packet()).await;
            raw.read().await;
            let _ = raw.try_send(&bytes).await;
            raw.finish().await;
            let messages = raw.until_closed().await;
            assert!(messages.iter().all(|message| matches!(message.tag, b'R' | b'E')), "{name}: {messages:?}");
            fixture.serves(name).await;
        }
    }
}

async fn after_authentication(fixture: &mut Fixture) {
    let lying = |tag: u8, length: u32, rest: &[u8]| [&[tag][..], &length.to_be_bytes(), rest].concat();
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    for seed in 0..60 {
        let length = [1, 5, 6, 50, 500, 5000, 100_000][usize::try_from(seed % 7).unwrap()];
        inputs.push((format!("noise {seed}"), noise(seed + 100, length)));
    }
    for tag in 0..=255u8 {
        if tag % 5 == 0 || b"QPBEDCSHXdcfFp".contains(&tag) {
            inputs.push((format!("tag {tag} with a body of noise"), raw::message(tag, &noise(u64::from(tag) + 1, 40))));
        }
    }
    for tag in *b"QPBEDCSHdcfF" {
        for length in [0, 3, 0x7fff_ffff, 0xffff_ffff] {
            inputs.push((format!("tag {tag} with length {length}"), lying(tag, length, &noise(2, 2000))));
        }
    }
    let parse = |name: &str, sql: &str| raw::message(b'P', &[&raw::cstr(name), &raw::cstr(sql)[..], &[0, 0]].concat());
    inputs.extend(
        [
            ("a query without its end", raw::message(b'Q', b"select 1")),
            ("a query with a NUL in it", raw::message(b'Q', b"select 1\0; drop table items\0")),
            ("a query that is empty", raw::message(b'Q', b"")),
            ("a query of no UTF-8", raw::message(b'Q', b"select '\xff\xfe'\0")),
            ("COPY data out of nowhere", raw::message(b'd', b"data")),
            ("the end of a COPY out of nowhere", raw::message(b'c', &[])),
            ("a response to nothing", raw::message(b'p', b"secret\0")),
            ("an execute of nothing", raw::message(b'E', &[0, 0, 0, 0, 0])),
            ("a name of 100 kB", parse(&"n".repeat(100_000), "select 1")),
            ("a thousand parses", parse("x", "select 1").repeat(1000)),
            ("another start-up", fixture.login.packet()),
            ("SSLRequest", raw::packet(&SSL_REQUEST.to_be_bytes())),
            ("a hundred syncs", raw::sync().repeat(100)),
            ("half a query", raw::query("select pg_sleep(60)")[..12].to_vec()),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes)),
    );
    for (index, (name, bytes)) in inputs.into_iter().enumerate() {
        let mut raw = fixture.open().await;
        let _ = raw.try_send(&bytes).await;
        raw.finish().await;
        let messages = raw.until_closed().await;
        assert!(messages.iter().map(|message| message.body.len()).sum::<usize>() < 1 << 20, "{name}");
        if index % 2 == 0 {
            fixture.serves(&name).await;
        } else {
            fixture.inputs += 1;
        }
    }
    let mut raw = fixture.open().await;
    assert_eq!(raw.text("select count(*) from items").await, "100", "nothing was smuggled in");
}

/// Connectors, the REST API, gRPC.
async fn other_listeners(fixture: &mut Fixture, ports: &[u16]) {
    let clients = fixture.dev.pg_port;
    for &port in ports.iter().filter(|&&port| port != clients) {
        let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
        for seed in 0..12 {
            inputs.push((
                format!("noise {seed}"),
                noise(seed + 500, [1, 10, 1000, 40_000][usize::try_from(seed % 4).unwrap()]),
            ));
        }
        for record in [[0x16, 3, 1, 0xff, 0xff], [0x16, 3, 1, 2, 0], [0x15, 3, 3, 0, 2]] {
            inputs.push(("a TLS record of noise".to_owned(), [&record[..], &noise(6, 20_000)].concat()));
        }
        inputs.push(("nothing".to_owned(), Vec::new()));
        inputs.push(("a start-up".to_owned(), fixture.login.packet()));
        inputs.push(("HTTP/2 in clear".to_owned(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
        inputs.push(("an endless header".to_owned(), [&b"GET / HTTP/1.1\r\nX: "[..], &vec![b'x'; 200_000]].concat()));
        inputs.push((
            "a lying body".to_owned(),
            b"POST /api/v1/requests HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n{".to_vec(),
        ));
        for (name, bytes) in inputs {
            fixture.throw(port, &bytes, &name).await;
            fixture.serves(&format!("{name} at port {port}")).await;
        }
        // TLS as it should be, then noise; without a certificate, connectors are not let in.
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let handshake = tokio::time::timeout(CLOSES_WITHIN, raw::tls::connect(stream, Some(b"postern-tunnel;0"))).await;
        if let Ok(Ok(mut stream)) = handshake {
            let _ = stream.write_all(&noise(8, 5000)).await;
            let mut answer = Vec::new();
            let closed = stream.read_to_end(&mut answer);
            let _ = wait::within(&format!("port {port} closes"), CLOSES_WITHIN, closed).await;
        }
        fixture.serves("TLS without a certificate").await;
    }
    // The connector is still attached to a gateway that has seen all this.
    let listed = fixture.dev.agent().run(&["connections", "--json"]).json();
    assert_eq!(listed[0]["status"], "up", "{listed}");
}

/// Wrong secrets are slowed down; the right one is not, from the same address, for the same grant.
async fn right_among_wrong(fixture: &mut Fixture) {
    let port = fixture.dev.pg_port;
    let wrong = Login { secret: "wrong".to_owned(), ..fixture.login.clone() };
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let wrong = wrong.clone();
            tokio::spawn(async move {
                let mut raw = Raw::connect(port, Tls::None).await;
                let error = raw.login(&wrong).await.unwrap_err();
                assert_eq!(error.sqlstate(), "28P01");
            })
        })
        .collect();
    let right = async |when: &str| {
        let start = Instant::now();
        let mut raw = Raw::connect(port, Tls::None).await;
        raw.login(&fixture.login).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "{when}: {:?}", start.elapsed());
    };
    let start = Instant::now();
    let mut failed = 0;
    for one in tries {
        wait::within("a wrong secret is told so", Duration::from_secs(20), one).await.unwrap();
        failed += 1;
        if failed % 10 == 0 {
            right(&format!("after {failed} wrong ones")).await;
        }
    }
    assert!(start.elapsed() > Duration::from_secs(2), "fifty guesses took only {:?}", start.elapsed());
    fixture.inputs += 50;
}
