//! `berth completion`.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use super::{Failure, print};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  source <(berth completion bash)\n  berth completion fish > ~/.config/fish/completions/berth.fish"
)]
pub(super) struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &CompletionArgs, command: &mut Command) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "berth", &mut script);
    print(&String::from_utf8_lossy(&script))
}
