//! The command line: one file per subcommand, no logic.
//!
//! Owns what people type and read. stdout is data, stderr is talk; colours only on a
//! terminal; an error is printed once, with its causes and what to do about it.

mod adapter;
mod admin;
mod artifact;
mod completion;
mod config;
mod demo;
mod failure;
mod plugin;
mod reasons;
mod retry;
mod serve;
mod settings;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use adapter::{CheckArgs, report as report_documents};
pub use demo::{DemoArgs, Output};
pub use failure::Failure;
pub use serve::ServeArgs;
pub use settings::SettingsArgs;

const AFTER_HELP: &str = "\
Examples:
  berth demo                                    See every journey, without a cluster
  berth serve --config berth.yaml               Take care of clusters and nodepools
  berth adapter check adapters/                 Check the documents of a folder
  berth adapter list                            See what is live in a running host, and what is not
  berth config show --config berth.yaml         Show every setting and where it comes from
  berth retry Cluster/0198 --adapter dns        Run one adapter again for one cluster

Exit codes:
  0   it worked
  1   it failed
  2   the command line is wrong
  64  the configuration, or an adapter document, is wrong";

/// What a host starts this program with to compile a plugin; nobody types it.
pub(crate) const COMPILE: &str = "compile-component";

/// Runs HyperFleet adapters whose decisions are WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "berth", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receives events and takes care of their subjects, until it is told to end.
    Serve(ServeArgs),
    /// Shows every journey in a simulated world, without a cluster.
    Demo(DemoArgs),
    /// Shows the host's configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Works with adapter documents.
    #[command(subcommand)]
    Adapter(adapter::AdapterCommand),
    /// Works with plugins.
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Works with registries.
    #[command(subcommand)]
    Registry(artifact::RegistryCommand),
    /// Runs one adapter again for one subject.
    Retry(retry::RetryArgs),
    /// Prints the script that completes commands in a shell.
    Completion(completion::CompletionArgs),
    /// Prints every reason that a condition can have, as Markdown.
    Reasons,
}

/// Runs the command that was typed.
#[must_use]
pub fn main() -> ExitCode {
    let done = if std::env::args_os().nth(1).is_some_and(|first| first == COMPILE) {
        compile()
    } else {
        run(Cli::parse().command)
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.print(),
    }
}

fn compile() -> Result<ExitCode, Failure> {
    match berth_runtime::compile_component() {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => Err(Failure::from(anyhow::Error::new(error).context("cannot compile"))),
    }
}

fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Config(command) => config::run(command),
        Command::Adapter(command) => adapter::run(command),
        Command::Plugin(command) => plugin::run(command),
        Command::Registry(command) => artifact::registry(&command),
        Command::Retry(args) => retry::run(&args),
        Command::Completion(args) => completion::run(&args, &mut Cli::command()),
        Command::Reasons => print(&reasons::document()),
    }
}

/// Writes data to stdout. A reader that went away is no failure.
fn print(text: &str) -> Result<ExitCode, Failure> {
    use std::io::Write as _;

    let mut stdout = anstream::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::from(
            anyhow::Error::new(error).context("cannot write to stdout"),
        )),
    }
}

#[cfg(test)]
mod tests;
