//! One measurement in a process of its own, so that what another left in memory is not counted.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{events, known, watch};

/// What a process of its own measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Task {
    /// The host, or the bare loop, with so many adapters and subjects.
    Known(known::Task),
    /// A watch of so many objects.
    Watch(watch::Task),
    /// The bare loop over real events. It ends when it is killed.
    Bare(events::Task),
}

/// What it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    /// Resident memory in bytes, after each step.
    pub(super) resident: Vec<u64>,
    /// CPU time of all threads, in nanoseconds an event, a batch each.
    pub(super) cpu: Vec<u64>,
    /// What the host itself says that it keeps, in bytes, after each step.
    pub(super) kept: Vec<u64>,
}

/// Measures in a process of its own: this program, started again.
pub(super) fn spawn(task: &Task) -> Result<Found> {
    let program = std::env::current_exe().context("this program does not know its own file")?;
    let mut command = std::process::Command::new(program);
    command.arg("--child").arg(serde_json::to_string(task)?);
    let output = command.output().context("this program cannot be started again")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("the measurement {task:?} ended with {}: {}", output.status, said.trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| format!("the measurement {task:?} told no figures"))
}

/// Does what `spawn` started this process for; answers with what is printed.
///
/// # Errors
/// When it cannot be measured.
pub async fn run(task: &str) -> Result<String> {
    let found = match serde_json::from_str(task).context("not a task")? {
        Task::Known(task) => known::run(&task).await?,
        Task::Watch(task) => watch::run(&task).await?,
        Task::Bare(task) => events::run(&task).await?,
    };
    Ok(serde_json::to_string(&found)?)
}

/// Resident memory of this process, in bytes.
pub(super) fn resident() -> Result<u64> {
    resident_of(std::process::id())
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_of(process: u32) -> Result<u64> {
    told_of(process, "status", "VmRSS:")
}

/// What of it is mapped from files, in bytes: code, which others may share and the kernel may drop.
pub(super) fn mapped_of(process: u32) -> Result<u64> {
    told_of(process, "status", "RssFile:")
}

/// The memory that a process takes, in bytes. As resident memory, but a page counts once that is mapped more than once, as
/// a plugin's image is into each place of the sandbox; and one that other processes have too counts for its part.
pub(super) fn taken_of(process: u32) -> Result<u64> {
    told_of(process, "smaps_rollup", "Pss:")
}

fn told_of(process: u32, file: &str, field: &str) -> Result<u64> {
    let file = format!("/proc/{process}/{file}");
    let told = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = told.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kibibytes
        .map(|count| count * 1024)
        .with_context(|| format!("{file} has no {field}"))
}

/// CPU time of all threads of this process so far, in nanoseconds.
pub(super) fn cpu() -> Result<u64> {
    // The kernel adds a thread's time up when the thread lets go of its core, else at the next tick.
    std::thread::yield_now();
    cpu_of(std::process::id())
}

/// CPU time of all threads of a process so far, in nanoseconds.
pub(super) fn cpu_of(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).context("cannot list the threads")? {
        let file = thread?.path().join("schedstat");
        // A thread may have ended meanwhile.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        let first = text.split_whitespace().next();
        sum += first.and_then(|one| one.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}
