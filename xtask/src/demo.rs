//! The task `demo`: the journeys in a terminal, by `berth demo`.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, BufReader},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    check::EVERYTHING,
    cleanroom::{describe, host_cargo},
    progress::{say, seconds},
    setup,
};

/// Sets up, builds `berth` and runs its demo; answers as the demo does.
pub(crate) fn run(arguments: &[OsString]) -> Result<ExitCode> {
    let ready = setup::run()?;
    let mut command = command(&ready.root);
    command.args(arguments);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{}`", describe(&command)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// How soon a demo that ran before shows its first journey.
const SOON: Duration = Duration::from_secs(10);
/// How often a slow one is looked at again: the machine may be busy.
const TRIES: u32 = 3;

/// Runs the demo once, and then sees that a further one starts soon.
pub(crate) fn starts_soon() -> Result<()> {
    say(&format!("demo: the first journey after {}", seconds(first_journey()?)));
    for _ in 0..TRIES {
        let took = first_journey()?;
        say(&format!(
            "demo: the first journey of a further run after {}",
            seconds(took)
        ));
        if took < SOON {
            return Ok(());
        }
    }
    bail!(
        "{TRIES} runs in a row took longer than {} to show a journey",
        seconds(SOON)
    );
}

/// How long it takes from set-up to the first journey.
fn first_journey() -> Result<Duration> {
    let begun = Instant::now();
    let ready = setup::run()?;
    let mut command = command(&ready.root);
    command
        .args(["--only", "A1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let line = describe(&command);
    let mut child = command.spawn().with_context(|| format!("cannot run `{line}`"))?;
    let output = child.stdout.take().with_context(|| format!("`{line}` has no output"))?;
    let mut first = String::new();
    let mut output = BufReader::new(output);
    let read = output.read_line(&mut first);
    let took = begun.elapsed();
    let rest = io::copy(&mut output, &mut io::sink());
    let status = child.wait().with_context(|| format!("cannot wait for `{line}`"))?;
    read.and(rest)
        .with_context(|| format!("cannot read what `{line}` says"))?;
    if first.is_empty() || !status.success() {
        bail!("`{line}` ended with {status}, and said first: {first}");
    }
    Ok(took)
}

fn command(root: &Path) -> Command {
    let mut command = host_cargo(root);
    // With the features of the tests, so that one build serves both.
    command.args(["run", "--locked", "--package", "berth", "--bin", "berth", EVERYTHING]);
    command.args(["--", "demo"]);
    command
}
