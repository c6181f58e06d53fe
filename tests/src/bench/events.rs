//! Events through a real RabbitMQ, with real Jobs of a real API server, and the HyperFleet API
//! over sockets: how many a second, and how much CPU each takes.
//!
//! The host is the program, built with the same profile, in a process of its own; CPU is that of
//! all its threads. The baseline is another process that makes the same calls with the clients
//! that one would take (lapin, reqwest, kube): it takes a message, GETs subject and statuses,
//! looks at the Job in a watch's store, PUTs a status and acknowledges. Both find all Jobs done,
//! and have as many messages in flight. Batches of both take turns.
//!
//! Of very many subjects only a part has Jobs, since each costs the control plane a second;
//! the others are known to the host all the same, as subjects that are not its adapter's. What
//! is measured are events about those with Jobs, however many are known.

use std::time::Duration;

use anyhow::Result;

use self::set::{Room, Set, Taken};
use super::{Baseline, Figure, Finding, Samples, Size, Tell};

mod bare;
mod set;
mod wire;

pub(super) use self::bare::{Task, run};

/// Numbers of adapters, each with a host of its own.
const ADAPTERS: [usize; 3] = [1, 10, 100];
/// Numbers of known subjects, one after the other in the same host.
const KNOWN: [usize; 2] = [1_000, 100_000];
/// Events that are measured, in batches.
const EVENTS: usize = 10_000;
const BATCHES: usize = 20;
/// So few subjects at least: events about one subject that wait at the same time are merged.
const FEW: usize = 200;
const GOAL: Duration = Duration::from_micros(600);
/// How many times the bare loop it may be.
const OF_BARE: f64 = 1.5;
/// How many times it may be with more subjects: flat within 10 %.
const OF_FEWER: f64 = 1.1;
/// How much the first adapter may add to the program, and each further one.
const FIRST_ADAPTER: u64 = 30 << 20;
const FURTHER_ADAPTER: u64 = 512 << 10;

/// Measures; everything so many times smaller.
pub(super) async fn measure(smaller: usize, tell: Tell<'_>) -> Result<()> {
    let mut first = None;
    for adapters in ADAPTERS {
        let mut set = Set::new((adapters / smaller).max(1)).await?;
        let mut fewer = None;
        for subjects in KNOWN {
            set.learn((subjects / smaller).max(FEW)).await?;
            let (room, mapped) = (set.room()?, set.mapped()?);
            if first.is_none() {
                tell(Finding::Size(of_first(set.without_adapters, room)))?;
            }
            let (mut host, mut bare) = (Taken::default(), Taken::default());
            for number in 0..BATCHES {
                let batch = (EVENTS / smaller / BATCHES).max(1);
                set.batch(number, batch, &set.hosts, &mut host).await?;
                set.batch(number, batch, &set.bares, &mut bare).await?;
            }
            let case = format!("{adapters}-adapters-{subjects}");
            let cpu = Samples::new(host.cpu)?;
            let bare_cpu = Samples::new(bare.cpu)?;
            tell(Finding::Time(of_cpu(
                &case,
                cpu.clone(),
                bare_cpu.clone(),
                fewer.as_ref(),
            )))?;
            tell(Finding::Time(of_time(&case, host.time, bare.time)?))?;
            tell(Finding::Size(Size {
                name: format!("events-memory-{case}"),
                what: "memory of the program once every subject is known, each page once",
                bytes: room.taken,
                goal: first.filter(|_| fewer.is_none()).map(|first| most(adapters, first)),
                baselines: vec![
                    ("with one adapter, 1,000 subjects", *first.get_or_insert(room.taken)),
                    ("resident: a page for each place where it is mapped", room.resident),
                    ("of it, code that is mapped from files", mapped),
                ],
            }))?;
            fewer.get_or_insert((cpu, bare_cpu));
        }
    }
    Ok(())
}

/// How much memory the program may take with so many adapters, if it takes so much with one.
fn most(adapters: usize, first: u64) -> u64 {
    let further = u64::try_from(adapters.saturating_sub(1)).unwrap_or(u64::MAX);
    first.saturating_add(further.saturating_mul(FURTHER_ADAPTER))
}

/// The program without an adapter, and with one whose subjects are known.
fn of_first(without: Room, with: Room) -> Size {
    Size {
        name: "events-memory-first-adapter".to_owned(),
        what: "what the first adapter adds: its plugin, its connections, and 1,000 known subjects; each page once",
        bytes: with.taken.saturating_sub(without.taken),
        goal: Some(FIRST_ADAPTER),
        baselines: vec![
            ("the program without an adapter", without.taken),
            (
                "what it adds to resident memory: a page for each place where it is mapped",
                with.resident.saturating_sub(without.resident),
            ),
        ],
    }
}

/// `fewer` is the same with fewer subjects, and the bare loop beside that.
fn of_cpu(case: &str, samples: Samples, bare: Samples, fewer: Option<&(Samples, Samples)>) -> Figure {
    let mut baselines = Vec::new();
    if let Some((fewer, bare_then)) = fewer {
        // The bare loop knows no subjects. What it takes more or less than minutes ago is the machine's doing.
        let speed = bare.percentile(50).as_secs_f64() / bare_then.percentile(50).as_secs_f64().max(1e-9);
        baselines.push(Baseline {
            what: "the same, 1,000 subjects known, if the machine had been as fast (by the bare loop)",
            samples: fewer.times(speed),
            goal: Some(OF_FEWER),
        });
        baselines.push(Baseline {
            what: "the same, 1,000 subjects known",
            samples: fewer.clone(),
            goal: None,
        });
    }
    baselines.insert(0, beside_bare(bare));
    Figure {
        name: format!("events-cpu-{case}"),
        what: "CPU of the program for an event whose Job is done; a sample is the mean of a batch",
        samples,
        goal_p50: Some(GOAL),
        goal_p99: None,
        baselines,
    }
}

fn of_time(case: &str, times: Vec<Duration>, bare: Vec<Duration>) -> Result<Figure> {
    Ok(Figure {
        name: format!("events-time-{case}"),
        what: "the part of a second that an event takes: its inverse is events a second",
        samples: Samples::new(times)?,
        goal_p50: None,
        goal_p99: None,
        baselines: vec![beside_bare(Samples::new(bare)?)],
    })
}

fn beside_bare(samples: Samples) -> Baseline {
    Baseline {
        what: "the same calls in a bare loop",
        samples,
        goal: Some(OF_BARE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_goals_of_events_are_told() {
        let micros = |of: u64| vec![Duration::from_micros(of)];
        let samples = |of: u64| Samples::new(micros(of)).unwrap();
        let cpu = |of: u64, fewer: Option<&(Samples, Samples)>| of_cpu("c", samples(of), samples(400), fewer).is_met();
        let fewer = (samples(500), samples(400));
        assert_eq!(cpu(550, Some(&fewer)), Some(true));
        assert_eq!(cpu(551, Some(&fewer)), Some(false), "not flat within 10 %");
        let on_a_faster_machine = (samples(250), samples(200));
        assert_eq!(cpu(550, Some(&on_a_faster_machine)), Some(true));
        assert_eq!(cpu(551, Some(&on_a_faster_machine)), Some(false));
        assert_eq!(cpu(600, None), Some(true));
        assert_eq!(cpu(601, None), Some(false), "more than 1.5 of the bare loop");
        assert_eq!(
            of_cpu("c", samples(601), samples(601), None).is_met(),
            Some(false),
            "more than 0.6 ms"
        );
        assert_eq!(of_time("c", micros(601), micros(400)).unwrap().is_met(), Some(false));
        assert_eq!(of_time("c", micros(600), micros(400)).unwrap().is_met(), Some(true));
        assert_eq!(most(10, 20 << 20), (20 << 20) + 9 * (512 << 10));
        let room = |taken, resident| Room { taken, resident };
        let first = of_first(room(30 << 20, 40 << 20), room(50 << 20, 65 << 20));
        assert_eq!((first.bytes, first.goal), (20 << 20, Some(30 << 20)));
        assert_eq!(first.baselines[1].1, 25 << 20);
    }
}
