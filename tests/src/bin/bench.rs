//! Measures what berth promises, each figure beside a baseline of the same run.
//!
//! It is a benchmark and not a test: a missed goal is told and does not fail. What it
//! measures is in [`berth_tests::bench`].

use std::{io::Write as _, process::ExitCode};

use anyhow::{Context as _, Result};
use berth_tests::bench::{self, Benchmark, Output};
use clap::Parser;

/// As the program has it: parts of it run in this process, and so do the baselines.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const AFTER_HELP: &str = "\
Examples:
  cargo xtask bench                          Everything, as a table
  cargo xtask bench events                   One benchmark
  cargo xtask bench --output json            One JSON object a figure, for machines";

/// Measures plugin calls, plugin loading, the way from a finished Job to a stored status, and
/// what events, subjects and objects cost.
#[derive(Debug, Parser)]
#[command(name = "bench", after_help = AFTER_HELP)]
struct CommandLine {
    /// Which benchmarks to run; all if none is named.
    #[arg(value_enum, value_name = "NAME")]
    chosen: Vec<Benchmark>,
    /// How figures are told.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Makes what can be made smaller so many times smaller: a look whether it works, no figure.
    #[arg(long, default_value_t = 1, value_name = "TIMES")]
    smaller: usize,
    /// One measurement of another benchmark, in this process.
    #[arg(long, hide = true)]
    child: Option<String>,
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
    if let Some(task) = &line.child {
        let found = executor.block_on(bench::run_child(task))?;
        return writeln!(out, "{found}").context("cannot write what was found");
    }
    bench::head(line.output, &mut out)?;
    for benchmark in Benchmark::chosen(&line.chosen) {
        let mut tell = |found: bench::Finding| found.tell(line.output, &mut out);
        executor.block_on(benchmark.measure(line.smaller, &mut tell))?;
    }
    Ok(())
}
