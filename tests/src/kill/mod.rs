//! The kill test: three hosts on one subscription, while everything dies.
//!
//! The real program three times, a real control plane, a real broker, and the HyperFleet API
//! over sockets. A seeded plan publishes events as Sentinel does, kills hosts, restarts broker
//! and API server, lets the HyperFleet API fail and cuts connections. When all that is over it
//! is awaited that
//! - every event was reported on, without anything being published again: none was lost;
//! - with Sentinel's polls, every subject succeeded at its last generation with one Job, and
//!   what was deleted is gone with its Jobs;
//! - nothing waits in the queue, nor in a host.
//!
//! A long run is judged leg by leg. What was judged is written down, so that a run that was
//! interrupted goes on there: its world is made anew, with the subjects as they were.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a harness may panic: it runs in tests only"
)]

pub mod host;
pub mod plan;
pub mod sentinel;
pub mod verdict;
pub mod world;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use self::{
    plan::{Act, Fates, Step, fates, plan},
    world::World,
};
pub use plan::Scale;

/// How long any one thing may take, and how long a condition may make no progress.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The size of the run in continuous integration.
pub const SHORT: Scale = Scale {
    events: 300,
    subjects: 60,
    kills: 10,
};
/// The size of the long run.
pub const LONG: Scale = Scale {
    events: 10_000,
    subjects: 2_000,
    kills: 1_000,
};

/// How many steps of the long run are judged at a time.
const LEG: usize = 1_000;

/// Which run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What decides everything that happens.
    pub seed: u64,
    /// How much happens.
    pub scale: Scale,
    /// Where progress is written, and read when a run goes on; none: the run is one leg.
    pub progress: Option<PathBuf>,
}

/// How far a run has come; all steps before `done` were judged and found right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The seed.
    pub seed: u64,
    /// The size.
    pub scale: Scale,
    /// Steps that are done.
    pub done: usize,
    /// All steps there are.
    pub of: usize,
    /// What was done, for people.
    pub told: Told,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Events that the plan published.
    pub events: u64,
    /// Events that Sentinel's polls published besides, while the end was awaited.
    pub polled: u64,
    /// Hosts that were killed.
    pub kills: u64,
    /// Other faults.
    pub faults: u64,
    /// Hosts that ended by themselves and were started again.
    pub ended: u64,
    /// How often the run was begun.
    pub begun: u64,
    /// How long it took in all, in seconds.
    pub seconds: u64,
    /// How much of that the end of a leg was awaited, when nothing was broken any more.
    #[serde(default)]
    pub calm_seconds: u64,
}

impl Options {
    /// The progress of an earlier run of the same seed and size; a new one else.
    fn begin(&self, of: usize) -> Progress {
        let read = |file: &Path| serde_json::from_slice(&std::fs::read(file).ok()?).ok();
        let before = self.progress.as_deref().and_then(read);
        let mut progress = before
            .filter(|before: &Progress| before.seed == self.seed && before.scale == self.scale && before.of == of)
            .unwrap_or_else(|| Progress {
                seed: self.seed,
                scale: self.scale,
                done: 0,
                of,
                told: Told::default(),
            });
        progress.told.begun += 1;
        progress
    }

    fn write(&self, progress: &Progress) -> Result<()> {
        let Some(file) = &self.progress else { return Ok(()) };
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let passing = file.with_extension("new");
        std::fs::write(&passing, serde_json::to_vec_pretty(progress)?)?;
        std::fs::rename(&passing, file).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// The seed of the last run that a file tells of, if that run has not come to its end.
#[must_use]
pub fn unfinished(file: &Path) -> Option<u64> {
    let progress: Progress = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (progress.done < progress.of).then_some(progress.seed)
}

/// Runs to the end.
///
/// # Errors
/// What is wrong in the end, with the seed, and where the logs are.
pub async fn run(options: &Options) -> Result<Progress> {
    let steps = plan(options.seed, options.scale);
    let mut progress = options.begin(steps.len());
    if progress.done == steps.len() {
        return Ok(progress);
    }
    let mut world = World::start().await?;
    let ended = legs(&mut world, &steps, options, &mut progress).await;
    match ended {
        Ok(()) => Ok(progress),
        Err(error) => {
            let unfinished = world.unfinished_jobs().await;
            Err(error.context(format!(
                "with BERTH_KILL_SEED={}, after {} of {} steps; logs are in {}\n{unfinished}",
                options.seed,
                progress.done,
                progress.of,
                world.keep(),
            )))
        }
    }
}

async fn legs(world: &mut World, steps: &[Step], options: &Options, progress: &mut Progress) -> Result<()> {
    world.begin_with(&fates(&steps[..progress.done])).await?;
    let leg = if options.progress.is_some() { LEG } else { steps.len() };
    while progress.done < steps.len() {
        let began = Instant::now();
        let end = (progress.done + leg).min(steps.len());
        storm(world, &steps[progress.done..end], &mut progress.told).await?;
        let calms = Instant::now();
        calm(world, &fates(&steps[..end]), &mut progress.told).await?;
        progress.told.calm_seconds += calms.elapsed().as_secs();
        progress.done = end;
        progress.told.seconds += began.elapsed().as_secs();
        progress.told.ended += world.take_ended();
        options.write(progress)?;
        tell(progress);
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a long run tells how far it has come")]
fn tell(progress: &Progress) {
    let Told {
        kills, faults, seconds, ..
    } = &progress.told;
    let Progress { done, of, .. } = progress;
    eprintln!("{done} of {of} steps are done and right: {kills} kills, {faults} other faults, {seconds} s");
}

/// Does all steps; faults mend while the next steps are done.
async fn storm(world: &mut World, steps: &[Step], told: &mut Told) -> Result<()> {
    let mut mending = JoinSet::new();
    for step in steps {
        tokio::time::sleep(step.pause).await;
        match &step.act {
            Act::Create(subject) => world.create(*subject).await?,
            Act::Change(subject) => world.change(*subject).await?,
            Act::Delete(subject) => world.delete(*subject).await?,
            Act::Again(subject) => world.again(*subject, false).await?,
            Act::Late(subject) => world.again(*subject, true).await?,
            Act::Break(fault) => {
                if matches!(fault, plan::Fault::Kill { .. }) {
                    told.kills += 1;
                } else {
                    told.faults += 1;
                }
                let (around, fault) = (Arc::clone(&world.around), fault.clone());
                mending.spawn(async move { around.suffer(&fault).await });
                continue;
            }
        }
        told.events += 1;
        while let Some(mended) = mending.try_join_next() {
            mended??;
        }
    }
    while let Some(mended) = mending.join_next().await {
        mended??;
    }
    Ok(())
}

/// Waits until everything is as it must be, when nothing is broken any more. The hosts are
/// stopped and started by that.
async fn calm(world: &mut World, fates: &Fates, told: &mut Told) -> Result<()> {
    world.around.heal();
    let reported = async || Ok(verdict::unreported(fates, &world.seen(false).await?));
    clears("events were lost", reported).await?;
    let mut polled = Instant::now();
    let right = async || {
        if polled.elapsed() > POLL {
            told.polled += world.poll().await?;
            polled = Instant::now();
        }
        // Thousands of Jobs are listed only when nothing else is left to wait for.
        let troubles = verdict::wrong_rows(fates, &world.seen(false).await?);
        if troubles.is_empty() {
            return Ok(verdict::wrong(fates, &world.seen(true).await?));
        }
        Ok(troubles)
    };
    clears("the end is not as it must be", right).await?;
    world.drained().await?;
    let troubles = verdict::wrong(fates, &world.seen(true).await?);
    ensure!(troubles.is_empty(), "hosts that stopped left this: {}", list(&troubles));
    world.around.start().await
}

/// How often Sentinel polls.
const POLL: Duration = Duration::from_secs(5);

/// Waits until there are no troubles; as long as they become fewer, it goes on.
async fn clears(what: &str, mut look: impl AsyncFnMut() -> Result<Vec<String>>) -> Result<()> {
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    loop {
        let looked = Instant::now();
        let troubles = look().await.unwrap_or_else(|error| vec![format!("{error:#}")]);
        if troubles.is_empty() {
            return Ok(());
        }
        if troubles.len() < fewest {
            (fewest, since) = (troubles.len(), Instant::now());
        }
        ensure!(since.elapsed() < PATIENCE, "{what}: {}", list(&troubles));
        // Looking takes little of the machine from those that are looked at.
        tokio::time::sleep((looked.elapsed() * 4).max(Duration::from_millis(300))).await;
    }
}

/// The first of many, for a message.
fn list(troubles: &[String]) -> String {
    let first: Vec<&str> = troubles.iter().take(10).map(String::as_str).collect();
    format!("{} troubles:\n  {}", troubles.len(), first.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(seed: u64, folder: &Path) -> Options {
        Options {
            seed,
            scale: SHORT,
            progress: Some(folder.join("run/progress.json")),
        }
    }

    #[test]
    fn a_run_of_the_same_seed_goes_on_and_another_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let first = options(1, folder.path());
        let mut progress = first.begin(100);
        assert_eq!((progress.done, progress.told.begun), (0, 1));
        progress.done = 60;
        first.write(&progress).unwrap();
        let file = first.progress.clone().unwrap();
        assert_eq!(unfinished(&file), Some(1));

        let again = first.begin(100);
        assert_eq!((again.done, again.told.begun), (60, 2));
        assert_eq!(options(2, folder.path()).begin(100).done, 0);
        let smaller = Options {
            scale: LONG,
            ..first.clone()
        };
        assert_eq!(smaller.begin(100).done, 0);

        progress.done = 100;
        first.write(&progress).unwrap();
        assert_eq!(unfinished(&file), None);
    }

    #[tokio::test]
    async fn troubles_that_become_fewer_are_waited_for() {
        let mut left = 5;
        let fewer = async || {
            left -= 1;
            Ok(vec!["a trouble".to_owned(); left])
        };
        clears("nothing", fewer).await.unwrap();
        assert_eq!(left, 0);
    }
}
