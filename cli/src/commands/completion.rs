//! `postern completion`.

use crate::{failure::Failure, output};
use clap::CommandFactory;

/// Print a script that completes commands and options in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern completion bash > /etc/bash_completion.d/postern
  source <(postern completion zsh)")]
pub struct CompletionArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

/// Runs `completion`.
pub fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "postern", &mut script);
    output::write_bytes(&script)
}
