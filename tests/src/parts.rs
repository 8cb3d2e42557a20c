//! The three parts as processes of their own, set up by hand as an operator would do it.

use crate::{
    cluster::{APP_PASSWORD, Cluster, READER_PASSWORD},
    dev::Caller,
    link::Link,
    process::{Process, free_port, postern},
    wait,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

const UP_WITHIN: Duration = Duration::from_secs(60);

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `postern control-plane`
    ControlPlane,
    /// `postern gateway`
    Gateway,
    /// `postern agent`
    Connector,
    /// Another gateway of the same region, where [`Setup::two_gateways`] asks for one.
    SecondGateway,
}

impl Part {
    /// Those that each installation has, in the order in which they are first started.
    pub const ALL: [Self; 3] = [Self::ControlPlane, Self::Gateway, Self::Connector];

    fn command(self) -> &'static str {
        match self {
            Self::ControlPlane => "control-plane",
            Self::Gateway | Self::SecondGateway => "gateway",
            Self::Connector => "agent",
        }
    }

    /// What its configuration and its log are called.
    fn file(self) -> &'static str {
        if self == Self::SecondGateway { "gateway-2" } else { self.command() }
    }

    /// How it joins, if it has to: its kind, its name, and the file of its join token.
    fn joins(self) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::ControlPlane => None,
            Self::Gateway => Some(("gateway", "gw-1", "gateway.token")),
            Self::SecondGateway => Some(("gateway", "gw-2", "gateway-2.token")),
            Self::Connector => Some(("connector", "con-1", "connector.token")),
        }
    }
}

/// What is not as usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// How long the certificates of gateways and connectors are good.
    pub certificate_lifetime: Option<&'static str>,
    /// Whether there is a second gateway.
    pub two_gateways: bool,
    /// Whether connectors reach the first gateway over a [`Link`].
    pub link: bool,
    /// A further line of the gateways' `clients`.
    pub clients: &'static str,
    /// Whether the control plane's API is under TLS.
    pub https: bool,
}

/// The ports that everything listens on.
#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    grpc: u16,
    clients: u16,
    tunnels: u16,
    /// Where connectors are told to find the first gateway.
    advertised: u16,
    second_clients: u16,
    second_tunnels: u16,
}

/// A running installation that serves the cluster's database `app` as the connection `orders`, with the access
/// roles `read` (database role `app_reader`) and `all` (`app`).
pub struct Parts {
    running: Vec<(Part, Process)>,
    folder: TempDir,
    /// Where the API is.
    pub url: String,
    /// The port for PostgreSQL clients.
    pub pg_port: u16,
    /// That of the second gateway.
    pub second_pg_port: u16,
    link: Option<Link>,
    admin: Caller,
    agent: Caller,
    join_tokens: Vec<String>,
}

impl Parts {
    /// Sets everything up from clean folders.
    pub async fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, Setup::default()).await
    }

    /// Sets everything up from clean folders, with what is unusual.
    pub async fn start_with(cluster: &Cluster, setup: Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("postern-e2e-parts-").tempdir().unwrap();
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let [http, grpc, clients, tunnels, second_clients, second_tunnels] = std::array::from_fn(|_| free_port());
        let advertised = if setup.link { free_port() } else { tunnels };
        let ports = Ports { http, grpc, clients, tunnels, advertised, second_clients, second_tunnels };
        let link = if setup.link { Some(Link::start(advertised, tunnels).await) } else { None };
        certificates(folder.path());
        let url = if setup.https { format!("https://localhost:{http}") } else { format!("http://127.0.0.1:{http}") };
        let root = folder.path().join("root.pem");
        let caller = |token: &str| {
            let caller = Caller::new(&url, token, &home);
            if setup.https { caller.with("POSTERN_CA_FILE", &root) } else { caller }
        };
        let nobody = caller("");
        let mut parts = Self {
            running: Vec::new(),
            folder,
            url: url.clone(),
            pg_port: clients,
            second_pg_port: second_clients,
            link,
            admin: nobody.clone(),
            agent: nobody,
            join_tokens: Vec::new(),
        };
        parts.write_configuration(&ports, setup, cluster);
        parts.launch(Part::ControlPlane);
        let token = wait::until_now("the first admin's token is there", UP_WITHIN, || {
            parts.assert_running();
            let file = parts.path("control-plane/admin.token");
            let token = fs::read_to_string(file).ok()?;
            token.ends_with('\n').then(|| token.trim().to_owned())
        });
        parts.admin = caller(&token);
        wait::until_now("the control plane answers", UP_WITHIN, || {
            (parts.admin.run(&["whoami"]).code == 0).then_some(())
        });
        let documents = parts.path("documents.yaml");
        let documents = documents.to_str().unwrap();
        let _ = parts.admin.run(&["apply", documents]).ok();
        let args = ["tokens", "create", "--for", "agent:ci", "--name", "test"];
        let token = parts.admin.run(&args).ok();
        parts.agent = caller(token.trim());
        let second = setup.two_gateways.then_some(Part::SecondGateway);
        for part in [Part::Gateway].into_iter().chain(second).chain([Part::Connector]) {
            parts.join(part);
            parts.launch(part);
        }
        parts.until_up();
        parts
    }

    /// Gives a part a new join token for its next start.
    pub fn join(&mut self, part: Part) {
        let Some((kind, name, file)) = part.joins() else { return };
        let token = self.admin.run(&["join-token", kind, name]).ok();
        fs::write(self.path(file), &token).unwrap();
        self.join_tokens.push(token.trim().to_owned());
    }

    /// The network between the connector and the first gateway.
    #[must_use]
    pub fn link(&self) -> &Link {
        self.link.as_ref().expect("the set-up has a link")
    }

    /// The admin's command line.
    #[must_use]
    pub fn admin(&self) -> &Caller {
        &self.admin
    }

    /// The agent's command line.
    #[must_use]
    pub fn agent(&self) -> &Caller {
        &self.agent
    }

    /// The tokens by which the parts joined.
    #[must_use]
    pub fn join_tokens(&self) -> &[String] {
        &self.join_tokens
    }

    /// A path in the folder that holds everything.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stops one part in good order.
    pub fn stop(&mut self, part: Part) {
        let index = self.running.iter().position(|(other, _)| *other == part);
        let (_, mut process) = self.running.remove(index.unwrap());
        let status = process.stop();
        assert!(status.success(), "{part:?} ended with {status}: {}", crate::process::tail(&process.output()));
    }

    /// Kills one part with SIGKILL.
    pub fn kill(&mut self, part: Part) {
        let index = self.running.iter().position(|(other, _)| *other == part);
        let (_, mut process) = self.running.remove(index.unwrap());
        process.kill();
    }

    /// Starts a part that was stopped.
    pub fn launch(&mut self, part: Part) {
        let name = part.file();
        let mut command = Command::new(postern());
        command
            .args([part.command(), "--config"])
            .arg(self.path(&format!("{name}.yaml")))
            .env("HOME", self.path("home"))
            .env("E2E_APP_PASSWORD", APP_PASSWORD);
        let log = self.path(&format!("{name}.log"));
        self.running.push((part, Process::spawn(name, &mut command, &log)));
    }

    /// A part's process.
    #[must_use]
    pub fn process(&self, part: Part) -> &Process {
        let found = self.running.iter().find(|(other, _)| *other == part);
        &found.unwrap().1
    }

    /// What a part has logged, over all its starts.
    #[must_use]
    pub fn log(&self, part: Part) -> String {
        let file = self.path(&format!("{}.log", part.file()));
        String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned()
    }

    /// Panics if one has ended by itself.
    pub fn assert_running(&mut self) {
        for (_, process) in &mut self.running {
            process.assert_running();
        }
    }

    /// Waits until sessions can be had.
    pub fn until_up(&mut self) {
        wait::until_now("the connection is up", UP_WITHIN, || {
            self.assert_running();
            let listed = self.agent.run(&["connections", "--json"]);
            let listed: Value = serde_json::from_str(&listed.stdout).ok()?;
            (listed[0]["status"] == "up").then_some(())
        });
    }

    fn write_configuration(&self, ports: &Ports, setup: Setup, cluster: &Cluster) {
        let root = self.folder.path().display();
        let Ports { http, grpc, clients, tunnels, advertised, second_clients, second_tunnels } = *ports;
        fs::write(self.path("reader.password"), READER_PASSWORD).unwrap();
        let lifetime = setup.certificate_lifetime.map(|lifetime| format!("certificate_lifetime: {lifetime}\n"));
        let more = setup.clients;
        let https = format!(", tls: {{ certificate: {root}/leaf.pem, key: {root}/leaf.key }}");
        let https = if setup.https { https.as_str() } else { "" };
        let gateway = |name: &str, clients: u16, tunnels: u16, advertised: u16| {
            format!(
                "data_dir: {root}/{name}\ncontrol_plane: {{ address: '127.0.0.1:{grpc}' }}\n\
                 join_token: {{ file: {root}/{name}.token }}\n\
                 clients:\n  listen: '127.0.0.1:{clients}'\n  advertise: 'localhost:{clients}'\n  \
                 tls: {{ certificate: {root}/leaf.pem, key: {root}/leaf.key }}\n  {more}\n\
                 connectors: {{ listen: '127.0.0.1:{tunnels}', advertise: '127.0.0.1:{advertised}' }}\n"
            )
        };
        let files = [
            (
                "control-plane.yaml",
                format!(
                    "data_dir: {root}/control-plane\nhttp: {{ listen: '127.0.0.1:{http}'{https} }}\n\
                     grpc: {{ listen: '127.0.0.1:{grpc}' }}\n\
                     clients: {{ address: 'localhost:{clients}', root_certificate: {root}/root.pem }}\n{}",
                    lifetime.unwrap_or_default()
                ),
            ),
            ("gateway.yaml", gateway("gateway", clients, tunnels, advertised)),
            ("gateway-2.yaml", gateway("gateway-2", second_clients, second_tunnels, second_tunnels)),
            (
                "agent.yaml",
                format!(
                    "data_dir: {root}/agent\ngateways: ['127.0.0.1:{advertised}']\n\
                     join_token: {{ file: {root}/connector.token }}\n\
                     connections:\n  orders:\n    logins:\n      \
                     app_reader: {{ password: {{ file: {root}/reader.password }} }}\n      \
                     app: {{ password: {{ env: E2E_APP_PASSWORD }} }}\n"
                ),
            ),
            ("documents.yaml", documents(cluster.port)),
        ];
        for (name, text) in files {
            fs::write(self.path(name), text).unwrap();
        }
    }
}

fn documents(port: u16) -> String {
    format!(
        "kind: Group
name: reviewers
members: [user:admin]
---
kind: Agent
name: ci
groups: [agents]
owner: admin
---
kind: User
name: alice
---
kind: Connection
name: orders
database: postgresql://127.0.0.1:{port}/app?sslmode=disable
connector: con-1
roles:
  read: {{ mode: login, database_role: app_reader, read_only: true, groups: [agents], max_duration: 1h, reviewers: [reviewers] }}
  all: {{ mode: login, database_role: app, max_duration: 1h, reviewers: [reviewers], application_name: unchanged }}
"
    )
}

/// A root of our own and the gateway's certificate for `localhost`.
fn certificates(folder: &Path) {
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.distinguished_name.push(rcgen::DnType::CommonName, "Postern's tests");
    let root_key = rcgen::KeyPair::generate().unwrap();
    let certificate = root.self_signed(&root_key).unwrap();
    fs::write(folder.join("root.pem"), certificate.pem()).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let leaf = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("leaf.pem"), leaf.pem()).unwrap();
    let file = folder.join("leaf.key");
    fs::write(&file, key.serialize_pem()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
}
