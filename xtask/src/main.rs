//! Set-up and tasks of the repository. No logic of the product lives here.
//!
//! `cargo xtask setup` builds what the host needs before it compiles; every other task calls it first.

mod assets;
mod bench;
mod bindings;
mod check;
mod cleanroom;
mod contract;
mod crates;
mod demo;
mod files;
mod fingerprint;
mod guest_toolchain;
mod guests;
mod licences;
mod packages;
mod plugins;
mod progress;
mod rabbitmq;
mod setup;
mod test;
mod tools;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand};

/// Set-up and tasks of the berth repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct CommandLine {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Find or install the guest toolchain and build the plugins that the host ships.
    Setup,
    /// Put the built plugins into the host's package, before `cargo package` or `cargo publish`.
    Assets,
    /// Show the journeys in a terminal: no cluster, no broker.
    Demo {
        /// Passed to `berth demo`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run all tests: the quick ones, then those on a real control plane, which is built first.
    Test(test::Arguments),
    /// Measure; prints what the benchmark prints.
    Bench {
        /// Passed to the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Check format, lints, documentation, licences, the contract and the architecture.
    Check,
    /// Build the test tools: a Kubernetes control plane, servers of brokers, a registry, cosign, wkg, promtool.
    Tools,
    /// Make the bindings of the contract that are in the repository anew, after a change of `wit/`.
    Bindings,
    /// Build the reference plugin in Python and Go, for the contract test.
    Plugins,
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let outcome = match command_line.task {
        Task::Setup => setup::run().map(|_| ExitCode::SUCCESS),
        Task::Assets => assets::run().map(|()| ExitCode::SUCCESS),
        Task::Demo { arguments } => demo::run(&arguments),
        Task::Test(arguments) => test::run(&arguments).map(|()| ExitCode::SUCCESS),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Check => check::run().map(|()| ExitCode::SUCCESS),
        Task::Bindings => bindings::run().map(|()| ExitCode::SUCCESS),
        Task::Plugins => setup::run()
            .and_then(|ready| plugins::build(&ready))
            .map(|()| ExitCode::SUCCESS),
        Task::Tools => tools::run().and_then(|_| tools::run_slow()).map(|_| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
