//! What happens in a run and what must come of it: all of it follows from the seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};

/// How many hosts there are.
pub const HOSTS: usize = 3;

/// How many events come at once when a host is killed.
const CROWD: usize = 8;

/// How large a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    /// Events that are published.
    pub events: u32,
    /// Subjects that they are about; not more than events.
    pub subjects: u32,
    /// Hosts that are killed.
    pub kills: u32,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// How long nothing is begun before it.
    pub pause: Duration,
    /// What is done.
    pub act: Act,
}

/// What is done in a step. Subjects are numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A subject is created and published.
    Create(u32),
    /// A subject gets its next generation and is published.
    Change(u32),
    /// The deletion of a subject begins and is published.
    Delete(u32),
    /// The last event of a subject comes once more.
    Again(u32),
    /// The event of a subject's first generation comes again, late.
    Late(u32),
    /// Something breaks. It mends while the run goes on.
    Break(Fault),
}

/// What breaks, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A host is killed by SIGKILL and started again.
    Kill {
        /// Which host.
        host: usize,
        /// How long it still works on what is published with it.
        after: Duration,
        /// How long it is away.
        away: Duration,
        /// Whether another pod takes its place, with another name.
        replaced: bool,
    },
    /// The broker is killed and started again.
    Broker(Duration),
    /// The API server and the controllers of Kubernetes are killed and started again, as when their machine dies.
    ControlPlane(Duration),
    /// The HyperFleet API drops all connections.
    FleetAway(Duration),
    /// The HyperFleet API takes a while for so many requests.
    FleetSlow(usize, Duration),
    /// The HyperFleet API answers so many requests with 503.
    FleetRefuses(usize),
    /// The HyperFleet API does so many requests whose answers are lost.
    AnswersLost(usize),
    /// The connections of one host are cut.
    Cut {
        /// Which host.
        host: usize,
        /// To whom.
        from: From,
        /// Whether nobody is told: nothing gets through, as in a partition.
        silent: bool,
        /// For how long.
        away: Duration,
    },
}

/// Whom a host is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// The broker.
    Broker,
    /// Kubernetes.
    Kubernetes,
    /// The HyperFleet API.
    Fleet,
}

/// What must have become of a subject in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fate {
    /// How often it was changed.
    pub changes: u32,
    /// Whether its deletion has begun.
    pub deleted: bool,
}

impl Fate {
    /// Its last generation.
    #[must_use]
    pub fn generation(self) -> u64 {
        u64::from(1 + self.changes + u32::from(self.deleted))
    }
}

/// The fates of all subjects that were created.
pub type Fates = BTreeMap<u32, Fate>;

/// All steps of a run.
#[must_use]
pub fn plan(seed: u64, scale: Scale) -> Vec<Step> {
    let mut dice = StdRng::seed_from_u64(seed);
    let many = scale.events as usize;
    let mut faults: Vec<(usize, Fault)> = faults(&mut dice, scale)
        .into_iter()
        .map(|fault| (dice.random_range(0..many.max(1)), fault))
        .collect();
    faults.extend(kills(&mut dice, scale, many));
    let kills = faults.iter().filter(|(_, fault)| matches!(fault, Fault::Kill { .. }));
    let crowds: BTreeSet<usize> = kills.flat_map(|(place, _)| *place..place + CROWD).collect();
    let events = events(&mut dice, scale, &crowds);
    // From the last to the first, so that the next one is taken from the end.
    faults.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    let mut steps = Vec::with_capacity(events.len() + faults.len());
    for (place, act) in events.into_iter().enumerate() {
        while let Some((_, fault)) = faults.pop_if(|(before, _)| *before <= place) {
            steps.push(Step {
                pause: Duration::ZERO,
                act: Act::Break(fault),
            });
        }
        // Some come in bursts, and many while a host dies.
        let pause = if dice.random_bool(0.3) || crowds.contains(&place) {
            Duration::ZERO
        } else {
            Duration::from_millis(dice.random_range(0..500))
        };
        steps.push(Step { pause, act });
    }
    steps
}

/// What has become of subjects after these steps.
#[must_use]
pub fn fates<'a>(steps: impl IntoIterator<Item = &'a Step>) -> Fates {
    let mut fates = Fates::new();
    for step in steps {
        match step.act {
            Act::Create(subject) => drop(fates.insert(subject, Fate::default())),
            Act::Change(subject) => fates.entry(subject).or_default().changes += 1,
            Act::Delete(subject) => fates.entry(subject).or_default().deleted = true,
            Act::Again(_) | Act::Late(_) | Act::Break(_) => {}
        }
    }
    fates
}

/// Events; `crowds` are the places of those that come while a host dies. Subjects are created
/// there above all: of these no host knows anything yet, so that only their event can tell of
/// them. What becomes of known ones is also found by whoever looks at their objects.
fn events(dice: &mut StdRng, scale: Scale, crowds: &BTreeSet<usize>) -> Vec<Act> {
    let mut acts = Vec::new();
    let (mut alive, mut deleted) = (Vec::new(), Vec::new());
    let mut crowded = crowds.iter().filter(|place| **place < scale.events as usize).count() as f64;
    for done in 0..scale.events {
        let created = u32::try_from(alive.len() + deleted.len()).unwrap_or(u32::MAX);
        let (missing, left) = (scale.subjects - created.min(scale.subjects), scale.events - done);
        let chance = if crowds.contains(&(done as usize)) {
            crowded -= 1.0;
            (f64::from(missing) / (crowded + 1.0)).min(0.7)
        } else {
            ((f64::from(missing) - 0.7 * crowded) / f64::from(left)).clamp(0.0, 1.0)
        };
        if alive.is_empty() || missing >= left || dice.random_bool(chance) && missing > 0 {
            alive.push(created);
            acts.push(Act::Create(created));
            continue;
        }
        let place = dice.random_range(0..alive.len());
        let subject = alive[place];
        acts.push(match dice.random_range(0..100) {
            0..50 => Act::Change(subject),
            50..70 => Act::Again(subject),
            70..80 => Act::Late(subject),
            80..90 if !deleted.is_empty() => Act::Again(deleted[dice.random_range(0..deleted.len())]),
            _ if deleted.len() * 3 < alive.len() => {
                alive.swap_remove(place);
                deleted.push(subject);
                Act::Delete(subject)
            }
            _ => Act::Change(subject),
        });
    }
    acts
}

/// Kills, each while an API that is slow keeps the host at work. Many come when little is left
/// to happen, so that no later event covers what a host lost.
fn kills(dice: &mut StdRng, scale: Scale, events: usize) -> Vec<(usize, Fault)> {
    let mut kills = Vec::new();
    for number in 0..scale.kills {
        let first = if number.is_multiple_of(2) { 0 } else { events * 9 / 10 };
        // In a long run there are many ends: those of its legs.
        let first = if scale.kills > 100 { 0 } else { first };
        let place = dice.random_range(first..events.max(first + 1));
        let slow = Duration::from_millis(dice.random_range(200..1_000));
        kills.push((place, Fault::FleetSlow(3 * CROWD, slow)));
        let kill = Fault::Kill {
            host: dice.random_range(0..HOSTS),
            after: Duration::from_millis(dice.random_range(0..1_500)),
            away: Duration::from_millis(dice.random_range(0..2_500)),
            replaced: dice.random_bool(0.5),
        };
        kills.push((place, kill));
    }
    kills
}

fn faults(dice: &mut StdRng, scale: Scale) -> Vec<Fault> {
    let mut faults = Vec::new();
    let away = |dice: &mut StdRng, range: std::ops::Range<u64>| Duration::from_millis(dice.random_range(range));
    for _ in 0..2 + scale.kills / 25 {
        faults.push(Fault::Broker(away(dice, 0..3_000)));
        faults.push(Fault::ControlPlane(away(dice, 0..4_000)));
    }
    for _ in 0..3 + scale.kills / 10 {
        faults.push(Fault::FleetAway(away(dice, 100..4_000)));
        faults.push(Fault::FleetRefuses(dice.random_range(1..20)));
        faults.push(Fault::AnswersLost(dice.random_range(1..10)));
    }
    for _ in 0..6 + scale.kills / 3 {
        let silent = dice.random_bool(0.5);
        faults.push(Fault::Cut {
            host: dice.random_range(0..HOSTS),
            from: [From::Broker, From::Kubernetes, From::Fleet][dice.random_range(0..3)],
            silent,
            away: away(dice, if silent { 500..12_000 } else { 0..2_000 }),
        });
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const CI: Scale = Scale {
        events: 300,
        subjects: 60,
        kills: 10,
    };

    fn is_kill(step: &&Step) -> bool {
        matches!(step.act, Act::Break(Fault::Kill { .. }))
    }

    #[test]
    fn a_seed_gives_the_same_plan_and_another_seed_another() {
        assert_eq!(plan(7, CI), plan(7, CI));
        assert_ne!(plan(7, CI), plan(8, CI));
    }

    #[test]
    fn a_plan_has_as_many_events_subjects_and_kills_as_asked_for() {
        for seed in 0..50 {
            let steps = plan(seed, CI);
            let events = steps.iter().filter(|step| !matches!(step.act, Act::Break(_))).count();
            assert_eq!(events, 300, "seed {seed}");
            assert_eq!(fates(&steps).len(), 60, "seed {seed}");
            assert_eq!(steps.iter().filter(is_kill).count(), 10, "seed {seed}");
        }
    }

    #[test]
    fn most_subjects_are_created_while_a_host_dies_and_many_at_the_end() {
        for seed in 0..50 {
            let (mut since, mut done) = (usize::MAX, 0);
            let (mut crowded, mut late) = (0, 0);
            for step in plan(seed, CI) {
                match step.act {
                    Act::Break(Fault::Kill { .. }) => since = 0,
                    Act::Break(_) => {}
                    act => {
                        if matches!(act, Act::Create(_)) {
                            crowded += u32::from(since < CROWD);
                            late += u32::from(done >= 270);
                        }
                        since = since.saturating_add(1);
                        done += 1;
                    }
                }
            }
            assert!(crowded >= 30 && late >= 5, "seed {seed}: {crowded}, {late}");
        }
    }

    #[test]
    fn nothing_is_asked_of_a_subject_before_its_creation_or_after_its_deletion() {
        for seed in 0..50 {
            let (mut created, mut deleted) = (BTreeSet::new(), BTreeSet::new());
            for step in plan(seed, CI) {
                match step.act {
                    Act::Create(subject) => assert!(created.insert(subject)),
                    Act::Change(subject) => assert!(created.contains(&subject) && !deleted.contains(&subject)),
                    Act::Delete(subject) => assert!(created.contains(&subject) && deleted.insert(subject)),
                    Act::Again(subject) | Act::Late(subject) => assert!(created.contains(&subject)),
                    Act::Break(_) => {}
                }
            }
            assert!(!deleted.is_empty() && deleted.len() < created.len(), "seed {seed}");
        }
    }

    #[test]
    fn a_fate_counts_generations_as_the_api_does() {
        let step = |act| Step {
            pause: Duration::ZERO,
            act,
        };
        let steps = [
            Act::Create(3),
            Act::Change(3),
            Act::Again(3),
            Act::Create(4),
            Act::Delete(3),
        ]
        .map(step);
        let fates = fates(&steps);
        assert_eq!((fates[&3].generation(), fates[&3].deleted), (3, true));
        assert_eq!((fates[&4].generation(), fates[&4].deleted), (1, false));
    }
}
