//! A subject that lives: dependencies, preconditions, plan, evidence.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    adapter::{Adapter, NotApplicable, Of},
    contract::{
        Achievement, AdapterStatus, Facts, Failure, Nature, Object, OperationResult, Owner, Phase, PhaseAnswer,
        PluginFault, Question, Said, Truth, Unmet, Verdict,
    },
    effect::{ClusterCause, ClusterFault, FleetFault, KindScope, Observed, Ownership},
    manifest,
    reason::Reason,
    report::{Journey, Report},
    subject::{Generation, Subject},
};

use super::{
    Input, Memory, Outcome, Recheck, Reported, deletion,
    evidence::{self, Progress, Trouble},
    io::Io,
    plan,
};

/// How soon a workload's pods are expected.
const PODS_EXPECTED: Duration = Duration::from_secs(10);

/// How soon a plugin may have itself asked again.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// One reconcile with everything that its phases share.
pub(super) struct Run {
    pub(super) io: Io,
    pub(super) adapter: Arc<Adapter>,
    pub(super) now: Timestamp,
    pub(super) by_hand: bool,
    pub(super) facts: Facts,
    /// Our own row, if it is about the subject's current generation.
    pub(super) row: Option<AdapterStatus>,
    pub(super) observed: Vec<Observed>,
    /// What queries of plans found.
    pub(super) found: Vec<Object>,
    pub(super) operations: Vec<OperationResult>,
    pub(super) carries: BTreeMap<String, Value>,
    /// When trouble was first seen, by object and reason; kept in our own row.
    pub(super) since: BTreeMap<String, String>,
    /// When the first trouble that is borne has lasted too long.
    pub(super) grace_ends: Option<Duration>,
}

/// How a reconcile ends, before it is told.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) journey: Journey,
    pub(super) recheck: Recheck,
    pub(super) await_namespace: Option<String>,
    /// Workloads that ended well, by reference, in addition to those that our row names.
    pub(super) finished: Vec<String>,
    /// Whether the status phase is left out and the stored row's own conditions and data are kept.
    pub(super) keeps_row: bool,
}

impl Ending {
    pub(super) fn new(journey: Journey, recheck: Recheck) -> Self {
        Self {
            journey,
            recheck,
            await_namespace: None,
            finished: Vec::new(),
            keeps_row: false,
        }
    }
}

/// Why a phase did not go on: another ending, or no ending at all.
#[derive(Debug)]
pub(super) enum Stop {
    /// It ends like this.
    Ends(Box<Ending>),
    /// Nothing can be said now.
    Retry {
        reason: Reason,
        message: String,
        after: Option<Duration>,
    },
}

impl From<Ending> for Stop {
    fn from(ending: Ending) -> Self {
        Self::Ends(Box::new(ending))
    }
}

pub(super) async fn reconcile(io: Io, input: Input) -> Outcome {
    let path = input.subject.href.clone();
    let subject = match io.fetch(&path).await {
        Ok(document) => match Subject::from_document(document, &path) {
            Ok(subject) if subject.key != input.subject.key => {
                return Outcome::Retry {
                    reason: Reason::FleetApiMisconfigured,
                    message: format!("GET {path} gave {}, not {}", subject.key, input.subject.key),
                    after: None,
                };
            }
            Ok(subject) => subject,
            Err(problem) => {
                return Outcome::Retry {
                    reason: Reason::FleetApiMisconfigured,
                    message: format!("GET {path}: {problem}"),
                    after: None,
                };
            }
        },
        Err(FleetFault::Gone) => return deletion::vanished(io, &input).await,
        Err(fault) => {
            let row = io
                .statuses(&path)
                .await
                .ok()
                .map(|rows| own_row(&rows, &input.adapter.name));
            let generation = input.subject.generation.max(input.memory.generation);
            return fleet_unreachable(io, &input, &path, generation, row, &fault).await;
        }
    };
    let statuses = match io.statuses(&subject.href).await {
        Ok(statuses) => statuses,
        Err(FleetFault::Gone) => return deletion::vanished(io, &input).await,
        Err(fault) => return fleet_unreachable(io, &input, &path, subject.generation, None, &fault).await,
    };
    let owner = match owner(&io, &subject).await {
        Ok(owner) => owner,
        Err(fault) => {
            let row = Some(own_row(&statuses, &input.adapter.name));
            return fleet_unreachable(io, &input, &path, subject.generation, row, &fault).await;
        }
    };
    let row = own_row(&statuses, &input.adapter.name).filter(|row| row.observed_generation == subject.generation);
    let since = row
        .as_ref()
        .and_then(|row| row.data.pointer("/berth/since")?.as_object())
        .map(|since| {
            since
                .iter()
                .filter_map(|(key, time)| Some((key.clone(), time.as_str()?.to_owned())))
                .collect()
        })
        .unwrap_or_default();
    let deleting = subject.deleting;
    let mut run = Run {
        facts: Facts {
            adapter: input.adapter.name.clone(),
            trigger: input.trigger.clone(),
            subject,
            owner,
            statuses,
            carry: Value::Null,
            now: microseconds(input.now),
        },
        io,
        adapter: Arc::clone(&input.adapter),
        now: input.now,
        by_hand: input.by_hand,
        row,
        observed: Vec::new(),
        found: Vec::new(),
        operations: Vec::new(),
        carries: BTreeMap::new(),
        since,
        grace_ends: None,
    };
    let ending = if deleting {
        deletion::run(&mut run).await
    } else {
        live(&mut run).await
    };
    match ending {
        Ok(ending) => run.tell(ending, &input).await,
        Err(Stop::Ends(ending)) => run.tell(*ending, &input).await,
        Err(Stop::Retry { reason, message, after }) => Outcome::Retry { reason, message, after },
    }
}

async fn live(run: &mut Run) -> Result<Ending, Stop> {
    run.refresh().await?;
    if let Some(ending) = preconditions(run).await? {
        return Ok(ending);
    }
    let plan = plan::execute(run).await?;
    judge(run, plan).await
}

/// Asks everything that must hold before; none where all of it does.
async fn preconditions(run: &mut Run) -> Result<Option<Ending>, Stop> {
    let mut unmet: Vec<Unmet> = run
        .adapter
        .depends_on
        .iter()
        .filter_map(|dependency| {
            let (rows, generation) = match dependency.of {
                Of::Subject => (run.facts.statuses.as_slice(), run.facts.subject.generation),
                Of::Owner => match &run.facts.owner {
                    Some(owner) => {
                        let generation = owner.document.get("generation").and_then(Value::as_u64).unwrap_or(0);
                        (owner.statuses.as_slice(), Generation::try_from(generation).unwrap_or(0))
                    }
                    None => (&[][..], 0),
                },
            };
            let message = dependency_state(rows, &dependency.adapter, generation)?;
            Some(Unmet {
                name: dependency.adapter.clone(),
                message,
            })
        })
        .collect();
    let mut recheck = if unmet.is_empty() {
        Recheck::Never
    } else {
        Recheck::Dependencies
    };
    for step in run.adapter.steps(Phase::Preconditions).to_vec() {
        let facts = run.facts_for(&step.plugin);
        let said = run.ask(&step.plugin, Question::Preconditions { facts }).await?;
        match said {
            Said::Preconditions(Verdict::Proceed) => {}
            Said::Preconditions(Verdict::Wait {
                unmet: more,
                recheck_after_ms,
            }) => {
                let time = recheck_after_ms.map(|ms| Duration::from_millis(ms.into()).max(ASKED_AGAIN));
                recheck = match recheck {
                    Recheck::Never => Recheck::Dependencies,
                    other => other,
                }
                .or_in(time);
                if more.is_empty() {
                    return Err(run
                        .invalid_output(&step.plugin, Phase::Preconditions, "it waits for nothing")
                        .into());
                }
                unmet.extend(more);
            }
            Said::Preconditions(Verdict::NotApplicable(why)) => {
                let available = run.adapter.not_applicable == NotApplicable::Available;
                let journey = Journey::NotApplicable { why, available };
                return Ok(Some(Ending::new(journey, Recheck::Never)));
            }
            Said::Resources(_) | Said::Postconditions(_) | Said::Status(_) => {
                return Err(run
                    .invalid_output(&step.plugin, Phase::Preconditions, "it answers another phase")
                    .into());
            }
        }
    }
    if unmet.is_empty() {
        return Ok(None);
    }
    let mut specifics: Vec<String> = unmet
        .iter()
        .map(|unmet| format!("{}: {}", unmet.name, unmet.message.trim_end_matches('.')))
        .collect();
    let earlier = run
        .observed
        .iter()
        .filter(|one| one.generation < run.facts.subject.generation);
    specifics.extend(
        earlier
            .filter(|one| !evidence::has_ended(one))
            .map(|one| format!("{} of generation {} still runs", one.reference, one.generation)),
    );
    let reason = Reason::PreconditionsNotMet.name().to_owned();
    Ok(Some(Ending::new(
        Journey::Waiting {
            reason,
            specifics: specifics.join("; "),
        },
        recheck,
    )))
}

/// Why a dependency is not met; none if it is.
fn dependency_state(rows: &[AdapterStatus], adapter: &str, generation: Generation) -> Option<String> {
    let Some(row) = rows.iter().find(|row| row.adapter == adapter) else {
        return Some("not reported yet".to_owned());
    };
    let available = row.condition("Available");
    match available {
        Some(condition) if condition.status == Truth::True && row.observed_generation == generation => None,
        Some(condition) if condition.status == Truth::True => Some(format!(
            "at generation {}, not yet at {generation}",
            row.observed_generation
        )),
        Some(condition) if condition.message.is_empty() => Some(format!("not available ({})", condition.reason)),
        Some(condition) => Some(format!("not available ({}: {})", condition.reason, condition.message)),
        None => Some("not available".to_owned()),
    }
}

/// Decides over the objects that the plan left.
async fn judge(run: &mut Run, plan: plan::Executed) -> Result<Ending, Stop> {
    let generation = run.facts.subject.generation;
    if !plan.waiting.is_empty() {
        let reason = Reason::WaitingForEarlierGeneration.name().to_owned();
        let journey = Journey::Waiting {
            reason,
            specifics: plan.waiting.join("; "),
        };
        return Ok(Ending::new(journey, Recheck::In(Duration::from_secs(30))));
    }
    let current: Vec<Observed> = run
        .observed
        .iter()
        .filter(|one| one.generation == generation && !one.deleting && plan.names.contains(&one.name))
        .cloned()
        .collect();

    // Work whose evidence is gone was done: our own row says so.
    if !plan.remembered.is_empty() && current.iter().all(|one| evidence::progress(one) == Progress::Done) {
        let message = format!("Done before: {}", plan.remembered.join(", "));
        let mut ending = Ending::new(Journey::Achieved { message }, plan.recheck);
        // What the row says of a failure, or of a time out of order, is not true any more.
        ending.keeps_row = run.has_succeeded();
        return Ok(ending);
    }

    let mut grace_ends = run.grace_ends;
    for one in &current {
        let Some(diagnosis) = &one.diagnosis else { continue };
        let key = format!("{} {}", one.reference, diagnosis.reason);
        let known = run.since.get(&key).and_then(|since| since.parse().ok());
        match evidence::trouble(diagnosis, known, run.now, run.adapter.grace) {
            None => {}
            Some(Trouble::Fresh(rest)) => {
                run.since.entry(key).or_insert_with(|| microseconds(run.now));
                grace_ends = Some(grace_ends.map_or(rest, |earlier: Duration| earlier.min(rest)));
            }
            Some(Trouble::Lasting(diagnosis)) => {
                run.since.entry(key).or_insert_with(|| microseconds(run.now));
                let message = format!("{}: {}", one.reference, diagnosis.message);
                let journey = creation_failed(&diagnosis.reason, message);
                return Ok(Ending::new(journey, Recheck::Trouble { at_least: None }));
            }
        }
    }

    let objects: Vec<Object> = current
        .iter()
        .map(evidence::object)
        .chain(run.found.iter().cloned())
        .collect();
    let (outcome, recheck) = postconditions(run, &current, objects).await?;
    let recheck = recheck.or_in(grace_ends).or_in(without_pods(&current));
    // What the built-in rules see as failed for good is failed, whatever waits for it.
    let failure = current.iter().find_map(|one| match evidence::progress(one) {
        Progress::Failed(failure) => Some(failure),
        Progress::Done | Progress::Running(_) => None,
    });
    Ok(match (outcome, failure) {
        (Achievement::Achieved, _) => achieved(run, &current, &plan),
        (Achievement::Failed(failure), _) => match current.iter().find(|one| {
            evidence::is_retrying(one) && one.document.pointer("/status/failed").and_then(Value::as_u64) > Some(0)
        }) {
            Some(retrying) => in_progress(run, evidence::running(retrying), recheck),
            None => Ending::new(work_failed(failure), Recheck::Never),
        },
        (Achievement::Pending { .. }, Some(failure)) => Ending::new(work_failed(failure), Recheck::Never),
        (Achievement::Pending { message, .. }, None) => {
            let mut parts: Vec<String> = current
                .iter()
                .filter(|one| {
                    matches!(evidence::progress(one), Progress::Running(_)) && manifest::runs_once(&one.reference)
                })
                .map(evidence::running)
                .collect();
            if !message.is_empty() && !parts.contains(&message) {
                parts.insert(0, message);
            }
            in_progress(run, parts.join("; "), recheck)
        }
    })
}

/// When to look again at a workload that has no pods yet: what keeps them away is told by events
/// alone, which nothing watches.
fn without_pods(current: &[Observed]) -> Option<Duration> {
    let is_workload = |one: &&Observed| {
        matches!(
            one.reference.kind.as_str(),
            "Job" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet"
        )
    };
    let has_none = |one: &Observed| !evidence::has_ended(one) && one.diagnosis.is_none();
    current
        .iter()
        .filter(is_workload)
        .any(has_none)
        .then_some(PODS_EXPECTED)
}

fn in_progress(run: &Run, message: String, recheck: Recheck) -> Ending {
    let degraded = run.has_succeeded();
    let reason = if degraded {
        Reason::WorkloadDegraded
    } else {
        Reason::WorkloadInProgress
    };
    Ending::new(
        Journey::InProgress {
            reason: reason.name().to_owned(),
            message,
        },
        recheck,
    )
}

fn work_failed(failure: Failure) -> Journey {
    let Failure { reason, message } = failure;
    let has_lead = message.split_once(": ").is_some_and(|(lead, _)| lead.len() <= 80);
    let message = if has_lead {
        message
    } else {
        format!("{}: {message}", words(&reason))
    };
    Journey::WorkFailed { reason, message }
}

/// `ValidationFailed` as `Validation failed`.
fn words(reason: &str) -> String {
    let mut words = String::with_capacity(reason.len() + 8);
    for (index, letter) in reason.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}

fn achieved(run: &mut Run, current: &[Observed], plan: &plan::Executed) -> Ending {
    let ended_well = current
        .iter()
        .filter(|one| manifest::runs_once(&one.reference) && evidence::progress(one) == Progress::Done);
    let finished = ended_well.map(|one| one.reference.to_string()).collect();
    run.since.clear();
    let done: Vec<String> = current.iter().map(|one| one.reference.to_string()).collect();
    let message = if done.is_empty() {
        "There is nothing to do".to_owned()
    } else {
        format!("Done: {}", done.join(", "))
    };
    let mut ending = Ending::new(Journey::Achieved { message }, plan.recheck);
    if let Some(cleanup) = run.adapter.cleanup {
        let named = run.finished();
        let due = current
            .iter()
            .filter(|one| manifest::runs_once(&one.reference) && evidence::progress(one) == Progress::Done)
            .filter_map(
                |one| match evidence::remaining(evidence::completed_at(one)?, run.now, cleanup.after) {
                    // This reconcile could have deleted it and did not: looking again at once changes nothing.
                    None if named.contains(&one.reference.to_string()) => None,
                    rest => Some(rest.unwrap_or(Duration::from_millis(1))),
                },
            );
        ending.recheck = ending.recheck.or_in(due.min());
    }
    ending.finished = finished;
    ending
}

/// Asks the adapter's postconditions, or the built-in rules where it has none.
async fn postconditions(
    run: &mut Run,
    current: &[Observed],
    objects: Vec<Object>,
) -> Result<(Achievement, Recheck), Stop> {
    let steps = run.adapter.steps(Phase::Postconditions).to_vec();
    if steps.is_empty() {
        let waiting: Vec<String> = current
            .iter()
            .filter_map(|one| match evidence::progress(one) {
                Progress::Running(message) => Some(message),
                Progress::Done | Progress::Failed(_) => None,
            })
            .collect();
        let failed = current
            .iter()
            .any(|one| matches!(evidence::progress(one), Progress::Failed(_)));
        return Ok(if waiting.is_empty() && !failed {
            (Achievement::Achieved, Recheck::Never)
        } else {
            (
                Achievement::Pending {
                    message: waiting.join("; "),
                    recheck_after_ms: None,
                },
                Recheck::Never,
            )
        });
    }
    let mut pending = Vec::new();
    let mut recheck = Recheck::Never;
    for step in steps {
        let facts = run.facts_for(&step.plugin);
        match run
            .ask(
                &step.plugin,
                Question::Postconditions {
                    facts,
                    objects: objects.clone(),
                },
            )
            .await?
        {
            Said::Postconditions(Achievement::Achieved) => {}
            Said::Postconditions(Achievement::Failed(failure)) => {
                return Ok((Achievement::Failed(failure), Recheck::Never));
            }
            Said::Postconditions(Achievement::Pending {
                message,
                recheck_after_ms,
            }) => {
                recheck = recheck.or_in(recheck_after_ms.map(|ms| Duration::from_millis(ms.into()).max(ASKED_AGAIN)));
                pending.push(message);
            }
            Said::Preconditions(_) | Said::Resources(_) | Said::Status(_) => {
                return Err(run
                    .invalid_output(&step.plugin, Phase::Postconditions, "it answers another phase")
                    .into());
            }
        }
    }
    Ok(if pending.is_empty() {
        (Achievement::Achieved, recheck)
    } else {
        (
            Achievement::Pending {
                message: pending.join("; "),
                recheck_after_ms: None,
            },
            recheck,
        )
    })
}

/// An A4 with the remediation of its reason.
pub(super) fn creation_failed(reason: &str, message: String) -> Journey {
    let known = Reason::ALL.iter().find(|known| known.name() == reason);
    let remediation = known.map_or("", |known| known.remediation()).to_owned();
    Journey::CreationFailed {
        reason: reason.to_owned(),
        message,
        remediation,
    }
}

impl Run {
    /// Lists what we own anew.
    pub(super) async fn refresh(&mut self) -> Result<(), Stop> {
        let ownership = Ownership {
            adapter: self.adapter.name.clone(),
            subject: self.facts.subject.key.clone(),
            kinds: self.kinds(),
        };
        match self.io.observe(ownership).await {
            Ok(observed) => {
                self.observed = observed;
                self.bear_crashes();
                Ok(())
            }
            Err(fault) => Err(self.stopped_by(&fault, "listing objects").into()),
        }
    }

    /// A container that crashes again and again may still recover: within grace it is under way.
    fn bear_crashes(&mut self) {
        for one in &mut self.observed {
            let Some(diagnosis) = &mut one.diagnosis else { continue };
            let since = diagnosis
                .since
                .as_deref()
                .and_then(|since| since.parse::<Timestamp>().ok());
            if diagnosis.nature == Nature::Failure
                && diagnosis.reason == Reason::CrashLoop.name()
                && let Some(since) = since
                && let Some(rest) = evidence::remaining(since, self.now, self.adapter.grace)
            {
                diagnosis.nature = Nature::Progress;
                self.grace_ends = Some(self.grace_ends.map_or(rest, |earlier| earlier.min(rest)));
            }
        }
    }

    fn kinds(&self) -> Vec<KindScope> {
        manifest::kinds(&self.adapter)
    }

    /// The facts with what this plugin carried so far.
    pub(super) fn facts_for(&self, plugin: &str) -> Facts {
        let carry = self.carries.get(plugin).cloned().unwrap_or(Value::Null);
        Facts {
            carry,
            ..self.facts.clone()
        }
    }

    pub(super) async fn ask(&mut self, plugin: &str, question: Question) -> Result<Said, Stop> {
        match self.io.ask(plugin, question).await {
            Ok(PhaseAnswer { said, carry }) => {
                if !carry.is_null() {
                    self.carries.insert(plugin.to_owned(), carry);
                }
                Ok(said)
            }
            Err(fault) => Err(self.plugin_failed(&fault).into()),
        }
    }

    pub(super) fn invalid_output(&self, plugin: &str, phase: Phase, problem: &str) -> Ending {
        self.plugin_failed(&PluginFault {
            plugin: plugin.to_owned(),
            phase,
            reason: Reason::PluginOutputInvalid.name().to_owned(),
            message: problem.to_owned(),
        })
    }

    /// Health=False with the plugin's reason; the rest as last proven.
    pub(super) fn plugin_failed(&self, fault: &PluginFault) -> Ending {
        let generation = self.facts.subject.generation;
        let exists = self
            .observed
            .iter()
            .any(|one| one.generation == generation && !one.deleting);
        let was_applied = self
            .row
            .as_ref()
            .and_then(|row| row.condition("Applied"))
            .is_some_and(|one| one.status == Truth::True);
        let journey = Journey::PluginFailed {
            reason: fault.reason.clone(),
            message: format!(
                "plugin `{}` failed in {}: {}",
                fault.plugin,
                fault.phase.name(),
                fault.message
            ),
            applied: exists || was_applied,
            after_success: self.has_succeeded(),
        };
        let mut ending = Ending::new(journey, Recheck::Trouble { at_least: None });
        ending.keeps_row = true;
        ending
    }

    /// How a fault of Kubernetes ends the reconcile.
    pub(super) fn stopped_by(&mut self, fault: &ClusterFault, doing: &str) -> Ending {
        let trouble = Recheck::Trouble {
            at_least: fault.retry_after,
        };
        let failed =
            |reason: Reason, recheck| Ending::new(creation_failed(reason.name(), fault.message.clone()), recheck);
        match &fault.cause {
            ClusterCause::Unreachable => {
                let journey = Journey::Unreachable {
                    reason: Reason::KubernetesApiUnreachable,
                    message: format!("Kubernetes API unreachable while {doing}: {}", fault.message),
                    after_success: self.has_succeeded(),
                };
                let mut ending = Ending::new(journey, trouble);
                ending.keeps_row = true;
                ending
            }
            ClusterCause::NamespaceMissing { namespace } => {
                let key = format!("Namespace {namespace} {}", Reason::NamespaceMissing);
                let since = self
                    .since
                    .entry(key)
                    .or_insert_with(|| microseconds(self.now))
                    .parse::<Timestamp>();
                let rest = evidence::remaining(since.unwrap_or(self.now), self.now, self.adapter.grace);
                let mut ending = match rest {
                    Some(rest) => Ending::new(
                        Journey::Waiting {
                            reason: Reason::NamespaceMissing.name().to_owned(),
                            specifics: format!("namespace `{namespace}` does not exist"),
                        },
                        Recheck::In(rest),
                    ),
                    None => failed(Reason::NamespaceMissing, trouble),
                };
                ending.await_namespace = Some(namespace.clone());
                ending
            }
            ClusterCause::NamespaceTerminating { .. } => failed(Reason::NamespaceTerminating, trouble),
            ClusterCause::Quota => failed(Reason::QuotaExceeded, trouble),
            ClusterCause::Forbidden => failed(Reason::Forbidden, trouble),
            ClusterCause::Admission => failed(Reason::AdmissionRefused, trouble),
            ClusterCause::WebhookUnavailable => failed(Reason::AdmissionUnavailable, trouble),
            ClusterCause::FieldConflict { manager } => {
                let message = format!("{} (field manager `{manager}`)", fault.message);
                Ending::new(creation_failed(Reason::FieldConflict.name(), message), trouble)
            }
            ClusterCause::Immutable | ClusterCause::Invalid => failed(Reason::ManifestInvalid, Recheck::Never),
            ClusterCause::UnknownKind => failed(Reason::UnknownKind, trouble),
            ClusterCause::Stale | ClusterCause::Throttled | ClusterCause::Other => {
                failed(Reason::CreationFailed, trouble)
            }
        }
    }

    /// Whether our stored row says that this generation succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        succeeded(self.row.as_ref())
    }

    /// The workloads that ended well at this generation, as our stored row names them.
    pub(super) fn finished(&self) -> Vec<String> {
        let named = self
            .row
            .as_ref()
            .and_then(|row| row.data.pointer("/berth/finished")?.as_array());
        named
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    }
}

fn succeeded(row: Option<&AdapterStatus>) -> bool {
    let is_true = |kind| {
        row.and_then(|row| row.condition(kind))
            .is_some_and(|one| one.status == Truth::True)
    };
    is_true("Available") && is_true("Applied")
}

fn own_row(rows: &[AdapterStatus], adapter: &str) -> Option<AdapterStatus> {
    rows.iter().find(|row| row.adapter == adapter).cloned()
}

/// RFC 3339 in UTC with microseconds.
pub(super) fn microseconds(time: Timestamp) -> String {
    format!("{time:.6}")
}

async fn owner(io: &Io, subject: &Subject) -> Result<Option<Owner>, FleetFault> {
    let Some(reference) = subject.owner.clone() else {
        return Ok(None);
    };
    if reference.href.is_empty() {
        return Ok(Some(Owner {
            reference,
            document: Value::Null,
            statuses: Vec::new(),
        }));
    }
    let document = match io.fetch(&reference.href).await {
        Ok(document) => document,
        Err(FleetFault::Gone) => {
            return Ok(Some(Owner {
                reference,
                document: Value::Null,
                statuses: Vec::new(),
            }));
        }
        Err(fault) => return Err(fault),
    };
    let statuses = match io.statuses(&reference.href).await {
        Ok(statuses) => statuses,
        Err(FleetFault::Gone) => Vec::new(),
        Err(fault) => return Err(fault),
    };
    Ok(Some(Owner {
        reference,
        document,
        statuses,
    }))
}

/// A6 of the HyperFleet API: told if a PUT still works, else kept.
async fn fleet_unreachable(
    io: Io,
    input: &Input,
    path: &str,
    generation: Generation,
    row: Option<Option<AdapterStatus>>,
    fault: &FleetFault,
) -> Outcome {
    let (reason, after) = match fault {
        FleetFault::Unreachable { retry_after, .. } => (Reason::FleetApiUnreachable, *retry_after),
        FleetFault::Misconfigured { .. } => (Reason::FleetApiMisconfigured, None),
        FleetFault::Gone | FleetFault::Rejected { .. } => (Reason::FleetApiUnreachable, None),
    };
    let message = fault.to_string();
    let retry = Outcome::Retry {
        reason,
        message: message.clone(),
        after,
    };
    // A report replaces the row. Where the row is not known, what it remembers would be lost.
    let row = row.or_else(|| input.memory.row.as_deref().cloned().map(Some));
    let (false, Some(row)) = (generation == 0, row) else {
        return retry;
    };
    let row = row.filter(|row| row.observed_generation == generation);
    let after_success = succeeded(row.as_ref());
    let journey = Journey::Unreachable {
        reason,
        message,
        after_success,
    };
    let mut conditions = journey.conditions();
    let mut data = Value::Object(Map::new());
    if let Some(row) = row {
        conditions.extend(
            row.conditions
                .into_iter()
                .filter(|kept| !matches!(kept.kind.as_str(), "Applied" | "Available" | "Health" | "Finalized")),
        );
        data = if row.data.is_object() { row.data } else { json!({}) };
    }
    let report = Report {
        adapter: input.adapter.name.clone(),
        observed_generation: generation,
        conditions,
        data,
        metadata: crate::report::Metadata::default(),
    };
    match io.report(path, report).await {
        Ok(crate::effect::Reported::Stored) => Outcome::Reported(Reported {
            journey,
            recheck: Recheck::Trouble { at_least: after },
            await_namespace: None,
            memory: Memory {
                generation,
                ..input.memory.clone()
            },
        }),
        Ok(crate::effect::Reported::Discarded) | Err(_) => retry,
    }
}
