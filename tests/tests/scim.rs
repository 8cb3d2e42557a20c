//! A directory that says over SCIM who there is: by a conformance checker of somebody else's, and as Okta and Entra ID
//! write, by what their documentation shows. These services themselves were not there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use postern_e2e::{
    dev::{Caller, Dev},
    packages,
    process::{Process, tail},
    shop::IN_FORCE_WITHIN,
    wait,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);

/// A directory with its token.
struct Directory<'a> {
    dev: &'a Dev,
    token: String,
}

/// `postern dev` where members of `analysts` may do anything with `demo`, and the agents `okta` and `entra`.
fn start() -> (Dev, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scim.yaml");
    let text = "kind: Connection\nname: demo\nroles:\n  all: { groups: [analysts, agents] }\n---\nkind: Agent\nname: okta\n---\n\
                kind: Agent\nname: entra\n";
    fs::write(&file, text).unwrap();
    (Dev::start(&["--config", file.to_str().unwrap()]), folder)
}

/// One call in plain HTTP/1.1: status, head and body.
fn send(dev: &Dev, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String, Value) {
    let address = dev.ready()["http_url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all((head + body).as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

impl<'a> Directory<'a> {
    fn new(dev: &'a Dev, agent: &str) -> Self {
        let args =
            ["tokens", "create", "--for", &format!("agent:{agent}"), "--name", "SCIM", "--may", "scim", "--json"];
        let made = dev.admin().run(&args).json();
        Self { dev, token: made["token"].as_str().unwrap().to_owned() }
    }

    fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let headers = [&*format!("authorization: Bearer {}", self.token), "content-type: application/scim+json"];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, head, body) = send(self.dev, method, &format!("/scim/v2{path}"), &headers, &body);
        assert!(status == 204 || head.contains("content-type: application/scim+json"), "{method} {path}: {head}");
        (status, body)
    }

    fn patch(&self, path: &str, operations: Value) -> (u16, Value) {
        let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
        self.call("PATCH", path, json!({ "schemas": [schema], "Operations": operations }))
    }

    /// As it creates users and asks for them before.
    fn user(&self, name: &str) -> String {
        let filter = format!("/Users?filter=userName%20eq%20%22{name}%22&startIndex=1&count=100");
        let (status, found) = self.call("GET", &filter, Value::Null);
        assert_eq!((status, &found["totalResults"]), (200, &json!(0)), "{found}");
        let body = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name,
            "name": { "givenName": "Test", "familyName": "User" }, "locale": "en-US", "password": "1mz050nq",
            "emails": [{ "primary": true, "value": name, "type": "work" }],
            "displayName": "Test User", "externalId": "00ujl29u0le5T6Aj10h7", "groups": [], "active": true,
        });
        let (status, made) = self.call("POST", "/Users", body);
        assert_eq!((status, &made["userName"], &made["active"]), (201, &json!(name), &json!(true)), "{made}");
        assert!(made.get("password").is_none() && made["emails"][0]["value"] == name, "{made}");
        let (_, found) = self.call("GET", &filter, Value::Null);
        assert_eq!((&found["totalResults"], &found["Resources"][0]["id"]), (&json!(1), &made["id"]));
        made["id"].as_str().unwrap().to_owned()
    }
}

/// A person's command line.
fn person(dev: &Dev, name: &str) -> Caller {
    let made = dev.admin().run(&["tokens", "create", "--for", &format!("user:{name}"), "--name", "t", "--json"]).json();
    Caller::new(dev.ready()["http_url"].as_str().unwrap(), made["token"].as_str().unwrap(), &dev.data())
}

/// psql that runs for a minute with a fresh grant, once it runs there.
fn psql(dev: &Dev, caller: &Caller, args: &[&str], folder: &TempDir, name: &str) -> Process {
    let asked = ["request", "demo", "--role", "all", "--for", "10m", "--reason", "a test", "--json"];
    let request = caller.run(&[&asked[..], args].concat()).json();
    let _ = dev.admin().run(&["approve", request["id"].as_str().unwrap()]).ok();
    let url = caller.run(&["url", "demo", "--role", "all"]).ok();
    let mut command = Command::new("psql");
    command.args(["-X", "-d", url.trim(), "-c", "select 'begun' as it", "-c", "select pg_sleep(60)"]);
    let mut process = Process::spawn(name, &mut command, &folder.path().join(name));
    wait::until_now("psql runs", SOON, || {
        process.assert_running();
        process.output().contains("begun").then_some(())
    });
    process
}

#[test]
fn who_is_deactivated_is_out_within_a_second() {
    let (dev, folder) = start();
    let okta = Directory::new(&dev, "okta");
    let (alice, bob) = (okta.user("alice@acme.com"), okta.user("bob@acme.com"));
    let (callers, agent) = ([person(&dev, "alice@acme.com"), person(&dev, "bob@acme.com")], dev.agent());
    // Only a group of the directory lets her ask.
    let ask = ["request", "demo", "--role", "all", "--for", "5m", "--reason", "x"];
    assert_eq!(callers[0].run(&ask).code, 3);
    let members = json!([{ "value": alice, "display": "alice@acme.com" }, { "value": bob }]);
    let (status, group) = okta.call("POST", "/Groups", json!({ "displayName": "analysts", "members": members }));
    assert_eq!(status, 201, "{group}");
    let mut hers = psql(&dev, &callers[0], &[], &folder, "alice");
    let mut on_behalf = psql(&dev, &agent, &["--on-behalf-of", "alice@acme.com"], &folder, "agent");
    let mut his = psql(&dev, &callers[1], &[], &folder, "bob");
    let body = json!({ "token": callers[0].token() }).to_string();
    let origin = format!("origin: {}", dev.ready()["http_url"].as_str().unwrap());
    let (status, head, _) = send(&dev, "POST", "/api/v1/web/session", &["x-postern-console: 1", &origin], &body);
    assert_eq!(status, 200, "{head}");
    let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let cookie = format!("cookie: {}", cookie.split(';').next().unwrap());
    assert_eq!(send(&dev, "GET", "/api/v1/whoami", &[&cookie], "").0, 200);

    let (status, user) =
        okta.patch(&format!("/Users/{alice}"), json!([{ "op": "replace", "value": { "active": false } }]));
    assert_eq!((status, &user["active"]), (200, &json!(false)));
    for (process, whose) in [(&mut hers, "hers"), (&mut on_behalf, "the agent's")] {
        wait::until_now(&format!("{whose} ends"), IN_FORCE_WITHIN, || process.ended());
        let said = process.output();
        assert!(said.contains("the grant was revoked by okta") && said.contains("was disabled"), "{}", tail(&said));
    }
    assert!(his.ended().is_none(), "{}", tail(&his.output()));
    assert_eq!(callers[0].run(&["whoami"]).code, 1);
    assert_eq!(send(&dev, "GET", "/api/v1/whoami", &[&cookie], "").0, 401);
    let ended = dev.admin().run(&["sessions", "--status", "ended", "--json"]).json();
    assert_eq!(ended.as_array().unwrap().len(), 2, "{ended}");

    // Deleted, he is out as well.
    assert_eq!(okta.call("DELETE", &format!("/Users/{bob}"), Value::Null).0, 204);
    wait::until_now("his ends", IN_FORCE_WITHIN, || his.ended());
    assert_eq!(okta.call("GET", &format!("/Users/{bob}"), Value::Null).0, 404);
    let group = okta.call("GET", &format!("/Groups/{}", group["id"].as_str().unwrap()), Value::Null).1;
    assert_eq!(group["members"].as_array().unwrap().len(), 1, "{group}");
    let events = dev.admin().run(&["audit", "search", "--type", "control", "--limit", "1000", "--json"]).json();
    let by_okta = events.as_array().unwrap().iter().filter(|event| event["actor"]["name"] == "okta");
    let mut actions: Vec<_> = by_okta.map(|event| event["action"].as_str().unwrap()).collect();
    actions.dedup();
    actions.reverse();
    assert_eq!(
        actions,
        ["user.created", "group.created", "user.updated", "grant.revoked", "user.deleted", "grant.revoked"]
    );
}

#[test]
fn entra_id_is_understood() {
    let (dev, _folder) = start();
    let entra = Directory::new(&dev, "entra");
    let extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let (status, user) = entra.call(
        "POST",
        "/Users",
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", extension],
            "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef", "userName": "Test_User_ab6490ee", "active": true,
            "displayName": "lennay", "title": "Ms", "preferredLanguage": "en",
            "emails": [{ "primary": true, "type": "work", "value": "u@acme.com" }],
            "meta": { "resourceType": "User" },
            "name": { "formatted": "g f", "familyName": "f", "givenName": "g" }, "roles": [],
            (extension): { "department": "bob" },
        }),
    );
    assert_eq!(status, 201, "{user}");
    let path = format!("/Users/{}", user["id"].as_str().unwrap());
    let (status, user) = entra.patch(
        &path,
        json!([
            { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "updated@acme.com" },
            { "op": "Replace", "path": "name.familyName", "value": "updatedFamilyName" },
            { "op": "Add", "path": format!("{extension}:department"), "value": "x" },
            { "op": "Replace", "path": "active", "value": "False" },
        ]),
    );
    assert_eq!((status, &user["active"]), (200, &json!(false)), "{user}");
    assert_eq!(
        (&user["emails"][0]["value"], &user["name"]["familyName"]),
        (&json!("updated@acme.com"), &json!("updatedFamilyName"))
    );
    let (_, group) = entra.call("POST", "/Groups", json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159", "displayName": "analysts", "meta": { "resourceType": "Group" },
    }));
    let group = format!("/Groups/{}", group["id"].as_str().unwrap());
    let member = json!([{ "$ref": null, "value": user["id"] }]);
    assert_eq!(entra.patch(&group, json!([{ "op": "Add", "path": "members", "value": member }])).0, 200);
    let (_, without) = entra.call("GET", &format!("{group}?excludedAttributes=members"), Value::Null);
    assert!(without.get("members").is_none() && without["displayName"] == "analysts", "{without}");
    let (_, user) = entra.call("GET", &path, Value::Null);
    assert_eq!(user["groups"][0]["display"], "analysts");
    let (_, after) = entra.patch(&group, json!([{ "op": "Remove", "path": "members", "value": member }]));
    assert!(after.get("members").is_none() && after["displayName"] == "analysts", "{after}");
    // What is refused is told in SCIM's form; nothing of a call that is refused is done.
    let (status, refused) = entra.patch(&path, json!([
        { "op": "Replace", "path": "active", "value": "True" }, { "op": "Replace", "path": "userName", "value": "two words" },
    ]));
    assert_eq!(
        (status, &refused["status"], &refused["scimType"]),
        (400, &json!("400"), &json!("invalidValue")),
        "{refused}"
    );
    assert_eq!(entra.call("GET", &path, Value::Null).1["active"], json!(false));
}

#[test]
fn others_are_refused_and_bodies_are_bounded() {
    let (dev, _folder) = start();
    let okta = Directory::new(&dev, "okta");
    let (admin, agent) = (dev.admin().token().to_owned(), dev.agent().token().to_owned());
    for token in ["", "postern_guess", &admin, &agent] {
        let header = format!("authorization: Bearer {token}");
        for path in ["/Users", "/Groups", "/ServiceProviderConfig", "/nothing"] {
            let (status, head, body) = send(&dev, "GET", &format!("/scim/v2{path}"), &[&header], "");
            assert!(status == 401 && head.contains("www-authenticate: bearer"), "{path} {head}");
            assert_eq!(body["schemas"], json!(["urn:ietf:params:scim:api:messages:2.0:Error"]), "{body}");
        }
    }
    // The directory's token is nobody's anywhere else.
    let header = format!("authorization: Bearer {}", okta.token);
    for path in ["whoami", "users", "grants", "audit/events"] {
        assert_eq!(send(&dev, "GET", &format!("/api/v1/{path}"), &[&header], "").0, 401, "{path}");
    }
    let name = |length: usize| json!({ "userName": "bob", "displayName": "x".repeat(length) });
    assert_eq!(okta.call("POST", "/Users", name(1001)).0, 400);
    assert_eq!(okta.call("POST", "/Users", name(1 << 20)).0, 413);
    assert_eq!(okta.call("POST", "/Users", json!([])).0, 400);
    assert_eq!(okta.call("POST", "/Users", name(1000)).0, 201);
    assert_eq!(okta.call("POST", "/Users", name(1)).0, 409);
    assert_eq!(okta.call("GET", "/Users?filter=userName%20co%20%22b%22", Value::Null).1["scimType"], "invalidFilter");
    assert_eq!(okta.call("GET", "/Users?count=x", Value::Null).0, 400);
    assert_eq!(okta.call("GET", "/nothing", Value::Null).0, 404);
    assert_eq!(okta.call("POST", "/Bulk", json!({})).0, 501);
}

#[test]
fn it_keeps_to_the_standard() {
    let (dev, _folder) = start();
    let okta = Directory::new(&dev, "okta");
    let python = packages::python("scim", "requirements-scim.txt");
    let url = format!("{}/scim/v2", dev.ready()["http_url"].as_str().unwrap());
    let script = packages::script("scim_check.py");
    let output = Command::new(python.join("bin/python")).arg(script).args([&url, &okta.token]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["checks"].as_u64().unwrap() > 40, "{found}");
    // It takes it for wrong that whether somebody may act cannot be left open.
    let wrong = found["wrong"].as_array().unwrap();
    assert_eq!(wrong.len(), 1, "{found:#}");
    assert!(wrong[0]["why"].as_str().unwrap().contains("`active` cannot be removed"), "{found:#}");
}
