//! From a preamble to a database connection.

use crate::{
    budgets::Ledger,
    catalogs::Watched,
    config::Credentials,
    gates::Place,
    pipeline::{
        Fatal,
        judge::{Judge, names::QUESTION, sight::Sight},
        policy::Policy,
    },
    registry::{End, Registration},
    roles::{Bounds, Lease, MakeError, Maker, Wanted},
    worker::{Common, Connection, Worker},
};
use postern_dial::{DialError, Target, query};
use postern_ops::secret::Source;
use postern_proto::v1::{
    ClientError, RoleMode, SessionClosed, SessionFacts, SessionOpen, Setting, Ticket, connector_message,
};
use postern_types::time::Micros;
use postern_wire::{
    backend::{self, BackendKey},
    error::{Report, field},
    frame,
};
use prost::Message;
use secrecy::SecretString;
use std::{rc::Rc, sync::Arc, time::Duration};
use tokio::{sync::mpsc::UnboundedSender, time::sleep};

/// The control plane's welcome is taken in within three seconds: a large set of policies takes a while to load.
const TOLD_TRIES: u32 = 30;
const TOLD_PAUSE: Duration = Duration::from_millis(100);

/// PostgreSQL cuts names to this.
const MAX_NAME_BYTES: usize = 63;

/// A session whose database has let it in.
pub struct Opened {
    /// What is recorded of it.
    pub facts: SessionFacts,
    /// The database.
    pub connection: postern_dial::Connection,
    /// How it was reached: to cancel.
    pub target: Arc<Target>,
    /// In the registry while it lives, which knows when its grant ends.
    pub registration: Registration,
    /// Judges its statements.
    pub judge: Judge,
    /// Whether its access role only reads.
    pub read_only: bool,
    /// Its own login, in mode `ephemeral`.
    pub lease: Option<Lease>,
    /// Among the sessions that the connection may have at once.
    pub place: Place,
    /// What its grant may still use up, if it has a budget.
    pub ledger: Option<Arc<Ledger>>,
}

/// What a client is told when the database does not answer. Without addresses.
pub fn unreachable() -> Report {
    Report::new(
        "08006",
        "the connector cannot reach the database",
        "Try again shortly; if it lasts, the database is down or its connection is configured wrongly.",
    )
}

/// Checks the ticket and connects.
///
/// # Errors
/// What the client is told.
pub async fn open(
    worker: &Rc<Worker>,
    preamble: &[u8],
    gateway_id: &str,
    end: UnboundedSender<End>,
) -> Result<Opened, Report> {
    let refused = |why: String| Report::new("28000", why, "Connect again; if it lasts, tell the operators of Postern.");
    let preamble =
        SessionOpen::decode(preamble).map_err(|_| refused("the session's preamble is malformed".to_owned()))?;
    let signed = preamble.ticket.ok_or_else(|| refused("the session has no ticket".to_owned()))?;
    let keys = worker.keeper.identity().ticket_keys.clone();
    let ticket =
        worker.verifier.take(&signed, &keys, gateway_id, Micros::now()).map_err(|error| refused(error.to_string()))?;
    let registration = worker.registry.register(&ticket, end)?;
    let session_id = ticket.session_id.clone();
    let opened = connect(worker, ticket, &preamble.startup_parameters, preamble.protocol_minor, registration).await;
    if let Err(Report { sqlstate, message, detail, hint }) = opened.as_ref().map_err(Report::clone) {
        worker.control.say(connector_message::Message::SessionClosed(SessionClosed {
            session_id,
            reason: "refused".to_owned(),
            at_us: Micros::now().0,
            refused: Some(ClientError { sqlstate, message, detail, hint }),
        }));
    }
    opened
}

/// Connects as the ticket says.
async fn connect(
    worker: &Rc<Worker>,
    ticket: Ticket,
    client: &[Setting],
    minor: u32,
    registration: Registration,
) -> Result<Opened, Report> {
    told_enough(worker, &ticket.connection).await;
    let held = target(worker, &ticket).await?;
    let application_name = application_name(&ticket, client);
    let mut policy = Policy::new(&worker.rules, &worker.masked, &ticket)?;
    let place = worker.gates.enter(&ticket.connection).await?;
    let bound = bound(worker, &ticket, &held, &mut policy).await?;
    let bounds = bound.as_ref().map(|(_, bounds)| bounds.clone()).unwrap_or_default();
    let (mut target, lease) = own_login(worker, &ticket, &held, bounds).await?;
    target.parameters = parameters(&ticket, client, &application_name, lease.as_ref());
    policy.ceilings().put_parameters(client, &ticket.settings, &mut target.parameters);
    target.minor = u16::try_from(minor).unwrap_or(0);
    let mut connection = postern_dial::connect(&target).await.map_err(|error| dial_report(&ticket, error))?;
    let target = Arc::new(target);
    let judge = judge(worker, &ticket, held, &mut connection, (policy, client)).await?;
    let (ledger, read_only) = (worker.budgets.of(&ticket, Micros::now()), ticket.read_only);
    let facts = SessionFacts {
        r#ref: 0,
        session_id: ticket.session_id,
        grant_id: ticket.grant_id,
        principal: ticket.principal,
        on_behalf_of: ticket.on_behalf_of,
        connection: ticket.connection,
        access_role: ticket.access_role,
        database_role: if lease.is_some() { ticket.database_role } else { target.user.clone() },
        client_address: ticket.client_address,
        gateway_id: ticket.gateway_id,
        connector_id: ticket.connector_id,
        application_name,
        backend_pid: connection.key.as_ref().map_or(0, |key| key.pid),
        auth_method: ticket.auth_method,
        opened_at_us: Micros::now().0,
        policy_version: ticket.policy_version,
    };
    Ok(Opened { facts, connection, target, registration, lease, place, judge, read_only, ledger })
}

/// What the database itself is to keep the session to, and the watch by which that is known: to the relations that its grant is
/// for, and from masked columns, where the access role wants that.
async fn bound(
    worker: &Common,
    ticket: &Ticket,
    held: &Target,
    policy: &mut Policy,
) -> Result<Option<(Arc<Watched>, Bounds)>, Report> {
    if ticket.role_mode() != RoleMode::Ephemeral || (!ticket.enforce_masks && ticket.relations.is_empty()) {
        return Ok(None);
    }
    let major = worker.roles.major(&maker(ticket, held)).await.map_err(|error| not_made(ticket, error))?;
    let major = major.ok_or_else(|| Fatal::Names.report())?;
    let watched = worker.catalogs.watch(&ticket.connection, held, major);
    let snapshot = watched.fresh().await.map_err(|_| Fatal::Names.report())?;
    let hidden = if ticket.enforce_masks { policy.hidden(&snapshot.catalog) } else { Vec::new() };
    let only = policy.narrow(&snapshot.catalog, major)?.map(|reach| reach.all().cloned().collect());
    Ok(Some((watched, Bounds { hidden, only })))
}

/// Waits for a moment until the control plane has said what is served and what is in force: its ticket may come before it
/// was all taken in.
async fn told_enough(worker: &Rc<Worker>, connection: &str) {
    for _ in 0..TOLD_TRIES {
        if worker.rules.load().is_some() && worker.connections.load().contains_key(connection) {
            return;
        }
        sleep(TOLD_PAUSE).await;
    }
}

/// Whoever judges a session's statements. Unless the policies permit it everything, it has to know the database's catalog and
/// what the session itself says of what names mean, and what the client asked for at start-up is judged first. The catalog is
/// read by the login that the connector holds.
async fn judge(
    worker: &Rc<Worker>,
    ticket: &Ticket,
    held: Target,
    connection: &mut postern_dial::Connection,
    (policy, parameters): (Policy, &[Setting]),
) -> Result<Judge, Report> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::warn!(%error, session = ticket.session_id, connection = ticket.connection, "a session cannot be served");
        Fatal::Names.report()
    };
    let major = major(connection).ok_or_else(|| failed(&"the server does not say its version"))?;
    let (catalogs, name) = (worker.catalogs.clone(), ticket.connection.clone());
    let user = if ticket.role_mode() == RoleMode::Ephemeral { &ticket.database_role } else { &held.user }.clone();
    let sight = Sight::new(major, Box::new(move || catalogs.watch(&name, &held, major)));
    let prefix = ticket.prefix_application_name.then(|| prefix(ticket));
    let mut judge = Judge::new(ticket.access_role.clone(), ticket.read_only, policy, prefix, sight);
    judge.begin();
    let Some(watched) = judge.watched() else { return Ok(judge) };
    let snapshot = watched.fresh().await.map_err(|error| failed(&error))?;
    if ticket.read_only {
        let privileges = query::rows(&mut connection.io, PRIVILEGES).await.map_err(|error| failed(&error))?;
        let privileges: Vec<_> = privileges.into_iter().flatten().flatten().collect();
        let accepted = worker.config.connections.get(&ticket.connection).is_some_and(|own| own.privileged_readers);
        if !privileges.is_empty() && !accepted {
            return Err(privileged(&user, &privileges));
        }
    }
    let rows = query::rows(&mut connection.io, QUESTION).await.map_err(|error| failed(&error))?;
    let answer = rows.into_iter().next().unwrap_or_default();
    judge.narrow(&snapshot.catalog)?;
    judge.prime(snapshot, &answer).map_err(|_| failed(&"its answer is not understood"))?;
    for setting in parameters {
        judge.admit_parameter(&setting.name, &setting.value)?;
    }
    Ok(judge)
}

/// The server's major version, if it says it.
pub(crate) fn major(connection: &postern_dial::Connection) -> Option<u16> {
    let version = connection.parameter("server_version").unwrap_or_default();
    version.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|major| major.parse().ok())
}

/// What a read-only session's login could do besides reading, in a few words each. Every name in it is qualified, so that
/// nothing can stand in for it.
const PRIVILEGES: &str = "\
SELECT what FROM pg_catalog.pg_roles r, LATERAL (VALUES (rolsuper, 'is a superuser'), (rolbypassrls, 'bypasses row security'), \
(rolcreaterole, 'may make roles')) AS might(it, what) WHERE it AND r.rolname OPERATOR(pg_catalog.=) current_user \
UNION ALL SELECT 'owns relations' WHERE EXISTS (SELECT FROM pg_catalog.pg_class c WHERE \
c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,S,f}'::pg_catalog.\"char\"[]) AND c.oid OPERATOR(pg_catalog.>=) '16384'::pg_catalog.oid \
AND pg_catalog.pg_has_role(c.relowner, 'USAGE')) \
UNION ALL SELECT pg_catalog.concat('is a member of ', rolname) FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) ANY \
('{pg_write_all_data,pg_execute_server_program,pg_write_server_files,pg_read_server_files,pg_signal_backend,pg_maintain,\
pg_checkpoint,pg_create_subscription,pg_database_owner}'::pg_catalog.name[]) AND pg_catalog.pg_has_role(oid, 'USAGE')";

fn privileged(user: &str, privileges: &[String]) -> Report {
    Report {
        sqlstate: "42501".to_owned(),
        message: "the read-only access role maps to a database role that could do more than read".to_owned(),
        detail: format!("The database role \"{user}\" {}.", privileges.join(", ")),
        hint: "The operators of Postern must map it to a role that may only read, or accept this with \
               `privileged_readers` in the connector's configuration."
            .to_owned(),
    }
}

/// Where to connect, and as whom: the login that the connector holds. In mode `ephemeral` it makes another for the session.
pub(crate) async fn target(worker: &Common, ticket: &Ticket) -> Result<Target, Report> {
    let hint = "The operators of Postern must mend the connection or the connector's configuration.";
    let misconfigured = |why: String| Report::new("08006", why, hint);
    let connections = worker.connections.load_full();
    let connection = connections.get(&ticket.connection).ok_or_else(|| {
        misconfigured(format!("this connector does not serve the connection \"{}\"", ticket.connection))
    })?;
    let mut target = Target::parse(&connection.url).map_err(|error| misconfigured(error.to_string()))?;
    let credentials = worker.config.connections.get(&ticket.connection);
    let login = login(credentials, connection, ticket, &target.user).map_err(misconfigured)?;
    target.password = match login.password {
        Password::Own(source) => Some(source.read().await.map_err(|error| {
            tracing::error!(%error, connection = ticket.connection, "a database credential cannot be had");
            misconfigured("the connector cannot get its database credential".to_owned())
        })?),
        Password::Pushed(password) => Some(password.clone()),
        Password::None => None,
    };
    target.user = login.user.to_owned();
    if let Some(path) = credentials.and_then(|credentials| credentials.root_certificate.clone()) {
        target.root_certificate = Some(path);
    }
    Ok(target)
}

/// As whom a session connects: as the login that the connector holds, or as one that lives as long as its lease.
pub(crate) async fn own_login(
    worker: &Common,
    ticket: &Ticket,
    held: &Target,
    bounds: Bounds,
) -> Result<(Target, Option<Lease>), Report> {
    if ticket.role_mode() != RoleMode::Ephemeral {
        return Ok((held.clone(), None));
    }
    let wanted = Wanted {
        mapped: ticket.database_role.clone(),
        bounds,
        session_id: ticket.session_id.clone(),
        grant_id: ticket.grant_id.clone(),
        until: Micros(ticket.grant_ends_at_us),
    };
    let lease = worker.roles.make(maker(ticket, held), wanted).await.map_err(|error| not_made(ticket, error))?;
    let target = Target {
        database: held.database().to_owned(),
        user: lease.name.clone(),
        password: Some(lease.password.clone()),
        ..held.clone()
    };
    Ok((target, Some(lease)))
}

fn maker(ticket: &Ticket, login: &Target) -> Maker {
    Maker { connection: ticket.connection.clone(), login: login.clone() }
}

/// What the client is told. The server's words name roles and settings, and no secret.
fn not_made(ticket: &Ticket, error: MakeError) -> Report {
    let (session, connection) = (&ticket.session_id, &ticket.connection);
    tracing::warn!(%error, session, connection, "no database role could be made for a session");
    let mapped = &ticket.database_role;
    let operators = "The operators of Postern must mend this: docs/ephemeral-roles.md says what is needed.";
    match error {
        MakeError::Dial(DialError::Server { sqlstate, message, .. }) if !sqlstate.starts_with("28") => Report {
            sqlstate: "08006".to_owned(),
            message: format!("the connector cannot make a database role for this session, a member of \"{mapped}\""),
            detail: message,
            hint: operators.to_owned(),
        },
        MakeError::Dial(error) => dial_report(ticket, error),
        MakeError::Standby => Report::new(
            "08006",
            "the database is a standby, on which no role can be made for this session",
            "The operators of Postern must give the access role mode `login`.",
        ),
        MakeError::Switches => {
            let why =
                format!("the database role \"{mapped}\" has a setting `role`, so that its sessions would be another's");
            Report::new("08006", why, operators)
        }
        MakeError::RowSecurity(_) | MakeError::Shield(_) => Report {
            sqlstate: "08006".to_owned(),
            message: "the database cannot keep this session from what it must not touch".to_owned(),
            detail: error.to_string(),
            hint: operators.to_owned(),
        },
        MakeError::Random => Report::new("57P03", "the connector has no random numbers", "Try again shortly."),
    }
}

/// As whom to log in.
#[derive(Debug)]
struct Login<'a> {
    user: &'a str,
    password: Password<'a>,
}

/// Where a login's password is.
#[derive(Debug)]
enum Password<'a> {
    /// The configuration says.
    Own(&'a Source),
    /// The control plane gave it.
    Pushed(&'a SecretString),
    /// The configuration knows the login without one.
    None,
}

/// The login of a session: what the connector's own configuration holds wins over what the control plane gave.
fn login<'a>(
    credentials: Option<&'a Credentials>,
    connection: &'a Connection,
    ticket: &'a Ticket,
    url_user: &'a str,
) -> Result<Login<'a>, String> {
    let (user, own, missing) = match ticket.role_mode() {
        RoleMode::Login => {
            let role = ticket.database_role.as_str();
            let own = credentials.and_then(|credentials| credentials.logins.get(role));
            let missing = format!("the connector holds no login for the database role \"{role}\"");
            (role, own.map(|login| login.password.as_ref()), missing)
        }
        mode @ (RoleMode::Shared | RoleMode::Ephemeral) => {
            let (account, missing) = match mode {
                RoleMode::Shared => {
                    (credentials.and_then(|own| own.shared.as_ref()), "the connector holds no shared login")
                }
                _ => (
                    credentials.and_then(|own| own.ephemeral.as_ref()),
                    "the connector holds no login that makes roles",
                ),
            };
            let missing = format!("{missing} for this connection");
            match account {
                Some(account) => (account.user.as_str(), Some(account.password.as_ref()), missing),
                None => (url_user, None, missing),
            }
        }
        RoleMode::Unspecified => return Err("the access role's mode is not known to this connector".to_owned()),
    };
    let password = match (own, connection.logins.get(user)) {
        (Some(Some(source)), _) => Password::Own(source),
        (_, Some(password)) => Password::Pushed(password),
        (Some(None), None) => Password::None,
        (None, None) => return Err(missing),
    };
    Ok(Login { user, password })
}

/// What a session's `application_name` begins with.
fn prefix(ticket: &Ticket) -> String {
    format!("postern:{}:", ticket.grant_id)
}

/// `postern:<grant>:<client's>`, unless the access role must be indistinguishable from a direct connection.
fn application_name(ticket: &Ticket, parameters: &[Setting]) -> String {
    let own = parameters.iter().rev().find(|setting| setting.name == "application_name");
    let own = own.map(|setting| setting.value.as_str()).unwrap_or_default();
    if !ticket.prefix_application_name {
        return own.to_owned();
    }
    let mut name = prefix(ticket) + own;
    while name.len() > MAX_NAME_BYTES {
        name.pop();
    }
    name
}

/// The client's parameters in their order, then Postern's own: the last one counts, and RESET restores it. Who logs in to
/// which database, and that it is no replication, is not for a gateway to say. What a lease begins with comes before them.
pub(crate) fn parameters(
    ticket: &Ticket,
    client: &[Setting],
    application_name: &str,
    lease: Option<&Lease>,
) -> Vec<(String, String)> {
    let mut parameters: Vec<_> = client
        .iter()
        .filter(|setting| !matches!(&*setting.name, "application_name" | "user" | "database" | "replication"))
        .map(|setting| (setting.name.clone(), setting.value.clone()))
        .collect();
    if let Some(lease) = lease {
        let is_options = |(name, _): &&mut (String, String)| name == "options";
        match parameters.iter_mut().rfind(is_options) {
            // The server looks at the last only.
            Some((_, options)) => *options = format!("{} {options}", lease.options),
            None => parameters.push(("options".to_owned(), lease.options.clone())),
        }
    }
    if !application_name.is_empty() {
        parameters.push(("application_name".to_owned(), application_name.to_owned()));
    }
    if ticket.read_only {
        parameters.push(("default_transaction_read_only".to_owned(), "on".to_owned()));
    }
    parameters.extend(ticket.settings.iter().map(|setting| (setting.name.clone(), setting.value.clone())));
    parameters
}

/// What the client is told. The server's own words are passed on where they are about what the client asked for
/// (its parameters, the server's state), not where they are about the connector's login.
pub(crate) fn dial_report(ticket: &Ticket, error: DialError) -> Report {
    tracing::warn!(%error, session = ticket.session_id, connection = ticket.connection, "the database did not let a session in");
    let DialError::Server { sqlstate, response, .. } = error else {
        return unreachable();
    };
    if sqlstate.starts_with("28") {
        return Report::new(
            "08006",
            "the database refused the connector's login",
            "The operators of Postern must mend the connector's credential or the database's pg_hba.conf.",
        );
    }
    let body = response.get(frame::HEADER_BYTES..).unwrap_or_default();
    let text = |code| String::from_utf8_lossy(field(body, code).unwrap_or_default()).into_owned();
    Report { message: text(b'M'), detail: text(b'D'), hint: text(b'H'), sqlstate }
}

/// What the gateway gets before the first query: the server's ParameterStatus and notices, the backend's process
/// id without its secret, ReadyForQuery.
pub fn greeting(connection: &mut postern_dial::Connection) -> Vec<u8> {
    let mut greeting = std::mem::take(&mut connection.greeting);
    if let Some(key) = &connection.key {
        backend::put_backend_key(&mut greeting, &BackendKey { pid: key.pid, secret: vec![0; 4] });
    }
    frame::put_message(&mut greeting, b'Z', |out| out.push(b'I'));
    greeting
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Account, Login as OwnLogin};
    use secrecy::ExposeSecret;

    fn chosen(credentials: Option<&Credentials>, mode: RoleMode, pushed: &[&str]) -> Result<(String, String), String> {
        let secret = |&login: &&str| (login.to_owned(), SecretString::from(format!("pushed for {login}")));
        let connection =
            Connection { url: String::new(), logins: pushed.iter().map(secret).collect(), ephemeral: true };
        let ticket = Ticket { database_role: "reader".to_owned(), role_mode: mode.into(), ..Ticket::default() };
        let login = login(credentials, &connection, &ticket, "of_url")?;
        let password = match login.password {
            Password::Own(Source::Value(value)) => value.expose_secret().to_owned(),
            Password::Own(other) => panic!("{other:?}"),
            Password::Pushed(password) => password.expose_secret().to_owned(),
            Password::None => "none".to_owned(),
        };
        Ok((login.user.to_owned(), password))
    }

    fn configured(password: Option<&str>) -> Credentials {
        let source = password.map(|text| Source::Value(SecretString::from(text)));
        Credentials {
            logins: [("reader".to_owned(), OwnLogin { password: source.clone() })].into(),
            shared: Some(Account { user: "one".to_owned(), password: source.clone() }),
            ephemeral: Some(Account { user: "maker".to_owned(), password: source }),
            privileged_readers: false,
            root_certificate: None,
        }
    }

    #[test]
    fn a_gateway_does_not_say_who_logs_in() {
        let setting = |name: &str, value: &str| Setting { name: name.to_owned(), value: value.to_owned() };
        let asked = [
            setting("user", "postgres"),
            setting("database", "other"),
            setting("replication", "database"),
            setting("DateStyle", "ISO"),
        ];
        let ticket = Ticket { read_only: true, ..Ticket::default() };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("DateStyle", "ISO"),
            pair("application_name", "postern:g:"),
            pair("default_transaction_read_only", "on"),
        ];
        assert_eq!(parameters(&ticket, &asked, "postern:g:", None), expected);
    }

    #[test]
    fn what_is_configured_wins_over_what_is_pushed() {
        let (own, bare) = (configured(Some("own")), configured(None));
        let all = ["reader", "one", "of_url"];
        for (credentials, mode, pushed, user, password) in [
            (Some(&own), RoleMode::Login, &all[..], "reader", "own"),
            (Some(&own), RoleMode::Shared, &all, "one", "own"),
            (Some(&bare), RoleMode::Login, &all, "reader", "pushed for reader"),
            (Some(&bare), RoleMode::Shared, &all, "one", "pushed for one"),
            (Some(&bare), RoleMode::Login, &[], "reader", "none"),
            (Some(&bare), RoleMode::Shared, &["of_url"], "one", "none"),
            (None, RoleMode::Login, &all, "reader", "pushed for reader"),
            (None, RoleMode::Shared, &all, "of_url", "pushed for of_url"),
            (Some(&own), RoleMode::Ephemeral, &all, "maker", "own"),
            (Some(&bare), RoleMode::Ephemeral, &[], "maker", "none"),
            (None, RoleMode::Ephemeral, &all, "of_url", "pushed for of_url"),
        ] {
            let expected = (user.to_owned(), password.to_owned());
            assert_eq!(chosen(credentials, mode, pushed), Ok(expected), "{mode:?} {credentials:?} {pushed:?}");
        }
        for (credentials, mode, pushed) in [
            (None, RoleMode::Login, &["one", "of_url"][..]),
            (None, RoleMode::Shared, &["reader", "one"]),
            (None, RoleMode::Ephemeral, &["reader", "one"]),
            (Some(&own), RoleMode::Unspecified, &all),
        ] {
            assert!(chosen(credentials, mode, pushed).is_err(), "{mode:?} {pushed:?}");
        }
    }
}
