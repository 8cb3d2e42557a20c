//! A client of the Model Context Protocol, by the protocol's own SDK, as an AI agent's program has one.

use crate::{
    dev::Caller,
    packages::{self, script},
    process::postern,
    wait,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

/// A call with a person in it, on a loaded machine.
const DONE_WITHIN: Duration = Duration::from_secs(90);

/// What was said of each call.
#[derive(Default)]
struct Said {
    done: HashMap<u64, Value>,
    progress: HashMap<u64, Vec<String>>,
}

/// A client with its server.
pub struct Mcp {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Said>>,
    next: u64,
}

impl Mcp {
    /// By standard input and output of `postern mcp`, as this caller.
    pub async fn stdio(caller: &Caller) -> Self {
        Self::start(caller, "stdio", &postern().to_string_lossy()).await
    }

    /// Over HTTP, at `/mcp` of the caller's control plane.
    pub async fn http(caller: &Caller) -> Self {
        Self::start(caller, "http", &format!("{}/mcp", caller.url())).await
    }

    async fn start(caller: &Caller, kind: &str, target: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(script("mcp_client.mjs")).args([kind, target]);
        command.env("POSTERN_TEST_NODE_MODULES", packages::mcp().join("node_modules"));
        caller.set(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Said::default()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let message: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                let id = message["id"].as_u64().unwrap();
                let mut said = heard.lock().unwrap();
                match message["progress"].as_str() {
                    Some(text) => said.progress.entry(id).or_default().push(text.to_owned()),
                    None => drop(said.done.insert(id, message)),
                }
            }
        });
        Self { child, stdin, said, next: 1 }
    }

    /// What the server says of itself, or why there is no session.
    pub async fn greeting(&self) -> Value {
        self.finish(0).await
    }

    /// The tools, as the server lists them.
    pub async fn tools(&mut self) -> Vec<Value> {
        let id = self.tell(json!({ "list": true }));
        self.finish(id).await["result"]["tools"].as_array().unwrap().clone()
    }

    /// Calls a tool.
    pub fn begin(&mut self, tool: &str, arguments: &Value) -> u64 {
        self.tell(json!({ "call": tool, "arguments": arguments }))
    }

    /// Gives a call up.
    pub async fn cancel(&mut self, call: u64) {
        let id = self.tell(json!({ "cancel": call }));
        self.finish(id).await;
    }

    /// What came of it.
    pub async fn finish(&self, id: u64) -> Value {
        wait::until("the client has an answer", DONE_WITHIN, || async { self.said.lock().unwrap().done.remove(&id) })
            .await
    }

    /// What was told of it meanwhile.
    #[must_use]
    pub fn progress(&self, id: u64) -> Vec<String> {
        self.said.lock().unwrap().progress.get(&id).cloned().unwrap_or_default()
    }

    /// Calls a tool and gives its structured answer; panics if it did not do what it was to do.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.begin(tool, &arguments);
        let answer = self.finish(id).await;
        assert!(answer["result"]["isError"] != true && answer["error"].is_null(), "{tool} {arguments}: {answer}");
        let structured = &answer["result"]["structuredContent"];
        assert!(structured.is_object(), "{tool} {arguments}: {answer}");
        structured.clone()
    }

    /// The error of a tool that does not do what it was to do.
    pub async fn refused(&mut self, tool: &str, arguments: Value) -> Value {
        let id = self.begin(tool, &arguments);
        error(&self.finish(id).await)
    }

    /// Ends it, and its server with it.
    pub async fn end(mut self) {
        drop(self.stdin.take());
        wait::until_now("the client ends", DONE_WITHIN, || self.child.try_wait().unwrap());
    }

    fn tell(&mut self, mut command: Value) -> u64 {
        let id = self.next;
        self.next += 1;
        command["id"] = json!(id);
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
        id
    }
}

/// A tool's error, as structure.
#[must_use]
pub fn error(answer: &Value) -> Value {
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let error = &answer["result"]["structuredContent"]["error"];
    assert!(error["code"].is_string() && error["message"].is_string(), "{answer}");
    error.clone()
}

impl Drop for Mcp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
