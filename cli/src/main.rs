//! The one binary, `postern`: a subcommand for each part, and the commands that people, agents and scripts
//! use. A command's file in `commands/` is named as the command; [`serve`] runs a part; [`dev`] composes all
//! of them.

mod client;
mod commands;
mod credentials;
mod dev;
mod documents;
mod events;
mod failure;
mod files;
mod logging;
mod output;
mod rows;
mod secret;
mod serve;

use clap::{Parser, Subcommand, error::ErrorKind};
use client::ClientArgs;
use commands::{
    Context, access, apply, audit, completion, connect, connections, credentials as database_credentials, decide, exec,
    fleet, grants, join_token, login, mcp, notifications, policy, request, requests, reviews, scan, sessions, standing,
    stop, tokens, url, users, whoami,
};
use failure::{Exit, Failure};
use output::Format;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Just-in-time access to PostgreSQL for AI coding agents and the people who run them
#[derive(Debug, Parser)]
#[command(
    name = "postern",
    version,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "Environment:
  POSTERN_URL    the control plane's address
  POSTERN_TOKEN  the caller's token; without it the saved login is used (postern login)

Exit codes: 0 done, 1 failed, 2 usage, 3 denied, 4 waiting for approval timed out

Start here:
  postern dev
  postern request demo --role read --for 10m --reason \"a first look\" --wait"
)]
pub struct Cli {
    #[command(flatten)]
    client: ClientArgs,

    /// Write JSON: the same as --format json
    #[arg(long, global = true, help_heading = "Common options")]
    json: bool,

    /// How to write results: table, json or csv [default: table]
    #[arg(
        long,
        global = true,
        help_heading = "Common options",
        hide_possible_values = true,
        value_enum,
        value_name = "FORMAT",
        conflicts_with = "json"
    )]
    format: Option<Format>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(Box<dev::DevArgs>),
    ControlPlane(serve::ControlPlaneArgs),
    Gateway(serve::GatewayArgs),
    Agent(serve::AgentArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Whoami(whoami::WhoamiArgs),
    Connections(connections::ConnectionsArgs),
    Credentials(database_credentials::CredentialsArgs),
    Request(request::RequestArgs),
    Requests(requests::RequestsArgs),
    Reviews(reviews::ReviewsArgs),
    Withdraw(requests::WithdrawArgs),
    Comment(requests::CommentArgs),
    Close(requests::CloseArgs),
    Standing(standing::StandingArgs),
    Approve(decide::ApproveArgs),
    Deny(decide::DenyArgs),
    Grants(grants::GrantsArgs),
    Extend(request::ExtendArgs),
    Revoke(grants::RevokeArgs),
    Stop(stop::StopArgs),
    Connect(connect::ConnectArgs),
    Url(url::UrlArgs),
    Exec(exec::ExecArgs),
    Mcp(mcp::McpArgs),
    Sessions(sessions::SessionsArgs),
    Audit(audit::AuditArgs),
    Plan(apply::PlanArgs),
    Apply(apply::ApplyArgs),
    Policy(policy::PolicyArgs),
    Scan(scan::ScanArgs),
    Freeze(policy::FreezeArgs),
    Notifications(notifications::NotificationsArgs),
    JoinToken(join_token::JoinTokenArgs),
    Connectors(fleet::ConnectorsArgs),
    Gateways(fleet::GatewaysArgs),
    Tokens(tokens::TokensArgs),
    Access(access::AccessArgs),
    Users(users::UsersArgs),
    Agents(users::AgentsArgs),
    Groups(users::GroupsArgs),
    Completion(completion::CompletionArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.json || cli.format == Some(Format::Json);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if json {
                let body = serde_json::json!({ "error": failure.report });
                output::remark(body.to_string());
            } else {
                output::remark(failure.to_string());
            }
            failure.exit.into()
        }
    }
}

/// Help and version are answers, everything else that the parser says is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done when the message cannot be written.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => Exit::Usage.into(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Other crates bring other providers; the first to install one wins.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let format = if cli.json { Format::Json } else { cli.format.unwrap_or_default() };
    let context = Context { format, client_args: cli.client };
    match cli.command {
        Command::Dev(args) => parts_runtime()?.block_on(dev::run(&context, *args)),
        Command::ControlPlane(args) => parts_runtime()?.block_on(serve::control_plane(args)),
        Command::Gateway(args) => parts_runtime()?.block_on(serve::gateway(args)),
        Command::Agent(args) => parts_runtime()?.block_on(serve::agent(args)),
        Command::Completion(args) => completion::run(&args),
        command => command_runtime()?.block_on(call(&context, command)),
    }
}

/// The commands that call the control plane.
async fn call(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Login(args) => login::login(context, args).await,
        Command::Logout(_) => login::logout(context).await,
        Command::Whoami(args) => whoami::run(context, args).await,
        Command::Connections(_) => connections::run(context).await,
        Command::Credentials(args) => database_credentials::run(context, args).await,
        Command::Request(args) => request::request(context, args).await,
        Command::Requests(args) => requests::requests(context, args).await,
        Command::Reviews(args) => reviews::run(context, args).await,
        Command::Withdraw(args) => requests::withdraw(context, args).await,
        Command::Comment(args) => requests::comment(context, args).await,
        Command::Close(args) => requests::close(context, args).await,
        Command::Standing(args) => standing::run(context, args).await,
        Command::Approve(args) => decide::approve(context, args).await,
        Command::Deny(args) => decide::deny(context, args).await,
        Command::Grants(args) => grants::grants(context, args).await,
        Command::Extend(args) => request::extend(context, args).await,
        Command::Revoke(args) => grants::revoke(context, args).await,
        Command::Stop(args) => stop::run(context, args).await,
        Command::Connect(args) => connect::run(context, args).await,
        Command::Url(args) => url::run(context, args).await,
        Command::Exec(args) => exec::run(context, args).await,
        Command::Mcp(_) => mcp::run(context).await,
        Command::Sessions(args) => sessions::run(context, args).await,
        Command::Audit(args) => audit::run(context, args).await,
        Command::Plan(args) => apply::plan(context, args).await,
        Command::Apply(args) => apply::apply(context, args).await,
        Command::Policy(args) => policy::policy(context, args).await,
        Command::Scan(args) => scan::run(context, args).await,
        Command::Freeze(args) => policy::freeze(context, args).await,
        Command::Notifications(args) => notifications::run(context, args).await,
        Command::JoinToken(args) => join_token::run(context, args).await,
        Command::Connectors(args) => fleet::connectors(context, args).await,
        Command::Gateways(args) => fleet::gateways(context, args).await,
        Command::Tokens(args) => tokens::run(context, args).await,
        Command::Access(args) => access::run(context, args).await,
        Command::Users(_) => users::users(context).await,
        Command::Agents(_) => users::agents(context).await,
        Command::Groups(_) => users::groups(context).await,
        // Handled by the caller.
        Command::Dev(_)
        | Command::ControlPlane(_)
        | Command::Gateway(_)
        | Command::Agent(_)
        | Command::Completion(_) => Ok(()),
    }
}

fn command_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

fn parts_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_takes_json_after_it() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            let result = Cli::try_parse_from(["postern", name, "--json"]);
            if let Err(error) = result {
                assert_ne!(error.kind(), ErrorKind::UnknownArgument, "{name}: {error}");
            }
        }
    }
}
