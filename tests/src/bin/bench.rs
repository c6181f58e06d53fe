//! Measures what berth promises, each figure beside a baseline of the same run.
//!
//! It is a benchmark and not a test: a missed goal is told and does not fail. What it
//! measures is in [`berth_tests::bench`].

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use berth_tests::bench::{self, Benchmark, Output};
use clap::Parser;

const AFTER_HELP: &str = "\
Examples:
  cargo xtask bench                          Everything, as a table
  cargo xtask bench --only job-to-status     One benchmark
  cargo xtask bench --output json            One JSON object a figure, for machines";

/// Measures plugin calls, plugin loading, and the way from a finished Job to a stored status.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = AFTER_HELP)]
struct CommandLine {
    /// Runs this benchmark only; may be given several times.
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Benchmark>,
    /// How figures are told.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn main() -> ExitCode {
    match run(&CommandLine::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whoever reads neither stream is told by the code.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine) -> Result<()> {
    let executor = tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    let mut out = std::io::stdout().lock();
    bench::head(line.output, &mut out)?;
    for benchmark in Benchmark::chosen(&line.only) {
        for figure in executor.block_on(benchmark.measure())? {
            figure.tell(line.output, &mut out)?;
        }
    }
    Ok(())
}
