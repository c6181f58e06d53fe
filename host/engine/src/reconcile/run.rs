//! What the phases of one reconcile share, and how it ends.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    adapter::Adapter,
    contract::{
        AdapterStatus, Diagnosis, Facts, Nature, Object, OperationResult, Phase, PhaseAnswer, PluginFault, Question,
        Reference, Said, Truth,
    },
    effect::{ClusterCause, ClusterFault, FleetFault, Observed, Ownership},
    manifest,
    reason::Reason,
    report::Journey,
};

use super::{Outcome, Recheck, evidence, io::Io, places::Places};

/// One reconcile with everything that its phases share.
pub(super) struct Run {
    pub(super) io: Io,
    pub(super) adapter: Arc<Adapter>,
    /// When it began, by the clock that wrote the times in objects.
    pub(super) cluster_now: Timestamp,
    pub(super) by_hand: bool,
    pub(super) facts: Arc<Facts>,
    pub(super) observed: Vec<Observed>,
    /// What queries of plans found.
    pub(super) found: Vec<Object>,
    pub(super) operations: Vec<OperationResult>,
    pub(super) carries: BTreeMap<String, Value>,
    /// When trouble was first seen, by object and reason, by the cluster's clock; kept in our own row for as long as
    /// it lasts.
    pub(super) since: BTreeMap<String, String>,
    /// Where there are objects, or may be; kept in our own row over all generations.
    pub(super) places: Places,
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

/// An A4.
pub(super) fn creation_failed(reason: &str, message: String) -> Journey {
    Journey::CreationFailed {
        reason: reason.to_owned(),
        message,
    }
}

impl Run {
    /// Lists what we own anew.
    pub(super) async fn refresh(&mut self) -> Result<(), Stop> {
        let ownership = Ownership {
            adapter: self.adapter.name.clone(),
            subject: self.facts.subject.key.clone(),
            kinds: self.places.beside(manifest::kinds(&self.adapter)),
        };
        match self.io.observe(ownership).await {
            Ok(mut observed) => {
                for one in &mut observed {
                    self.bear_crashes(one);
                }
                self.places = Places::of(&observed);
                self.observed = observed;
                Ok(())
            }
            // Nothing is proven of what exists by berth's own lack of rights.
            Err(fault) if fault.cause == ClusterCause::Forbidden => {
                let message = format!("Objects cannot be seen: {}", fault.message);
                Err(self.outage(Reason::ReadForbidden, message, &fault).into())
            }
            Err(fault) => Err(self.stopped_by(&fault, "listing objects").into()),
        }
    }

    /// A workload that is meant to run for ever may still recover, whatever its containers do:
    /// within grace it is under way.
    pub(super) fn bear_crashes(&mut self, observed: &mut Observed) {
        let Some(diagnosis) = &mut observed.diagnosis else {
            return;
        };
        let may_recover = evidence::is_crash(diagnosis) || manifest::runs_for_ever(&observed.reference);
        if diagnosis.nature != Nature::Failure || !may_recover {
            return;
        }
        let begun = self.begun(&observed.reference, diagnosis);
        if let Some(rest) = evidence::remaining(begun, self.cluster_now, self.adapter.grace) {
            diagnosis.nature = Nature::Progress;
            self.grace_ends = Some(self.grace_ends.map_or(rest, |earlier| earlier.min(rest)));
        }
    }

    /// Since when an object has this trouble: as Kubernetes says, or for as long as we have seen it without a break.
    /// What cannot have begun yet began now.
    pub(super) fn begun(&mut self, object: &Reference, diagnosis: &Diagnosis) -> Timestamp {
        let parse = |text: &str| text.parse::<Timestamp>().ok();
        let key = trouble_key(object, diagnosis);
        let said = diagnosis.since.as_deref().and_then(parse);
        let known = self.since.get(&key).map(String::as_str).and_then(parse);
        let begun = said.into_iter().chain(known).min().unwrap_or(self.cluster_now);
        let begun = begun.min(self.cluster_now);
        self.since.insert(key, microseconds(begun));
        begun
    }

    /// Forgets when trouble began that is over.
    pub(super) fn forget_past_trouble(&mut self) {
        if self.since.is_empty() {
            return;
        }
        let present: BTreeSet<String> = self
            .observed
            .iter()
            .filter_map(|one| Some(trouble_key(&one.reference, one.diagnosis.as_ref()?)))
            .collect();
        self.since.retain(|key, _| present.contains(key));
    }

    /// The facts with what this plugin carried so far.
    pub(super) fn facts_for(&self, plugin: &str) -> Arc<Facts> {
        match self.carries.get(plugin) {
            None => Arc::clone(&self.facts),
            Some(carry) => Arc::new(Facts {
                carry: carry.clone(),
                ..Facts::clone(&self.facts)
            }),
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
            .row()
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
                let message = format!("Kubernetes API unreachable while {doing}: {}", fault.message);
                self.outage(Reason::KubernetesApiUnreachable, message, fault)
            }
            // Neither proves anything of what exists: as an outage, it takes no success back.
            ClusterCause::Throttled => {
                let message = format!(
                    "Kubernetes API refuses too many requests while {doing}: {}",
                    fault.message
                );
                self.outage(Reason::KubernetesApiThrottled, message, fault)
            }
            ClusterCause::ConversionUnavailable => {
                let message = format!("A custom resource cannot be converted while {doing}: {}", fault.message);
                self.outage(Reason::ConversionUnavailable, message, fault)
            }
            ClusterCause::NamespaceMissing { namespace } => {
                let key = format!("Namespace {namespace} {}", Reason::NamespaceMissing);
                let now = self.cluster_now;
                let since = self.since.entry(key).or_insert_with(|| microseconds(now));
                let since = since.parse::<Timestamp>().unwrap_or(now).min(now);
                let rest = evidence::remaining(since, now, self.adapter.grace);
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
            ClusterCause::LimitRange => failed(Reason::OutsideLimitRange, trouble),
            ClusterCause::Forbidden => failed(Reason::Forbidden, trouble),
            ClusterCause::Admission => failed(Reason::AdmissionRefused, trouble),
            ClusterCause::WebhookUnavailable => failed(Reason::AdmissionUnavailable, trouble),
            ClusterCause::FieldConflict { manager } => {
                let message = format!("{} (field manager `{manager}`)", fault.message);
                Ending::new(creation_failed(Reason::FieldConflict.name(), message), trouble)
            }
            ClusterCause::Immutable => failed(Reason::FieldImmutable, Recheck::Never),
            ClusterCause::Invalid => failed(Reason::ManifestInvalid, Recheck::Never),
            ClusterCause::UnknownKind => failed(Reason::UnknownKind, trouble),
            ClusterCause::TooLarge => failed(Reason::PlanInvalid, trouble),
            ClusterCause::Stale | ClusterCause::Other => failed(Reason::CreationFailed, trouble),
        }
    }

    /// What exists cannot be seen or written: that changes nothing but Health after success.
    fn outage(&self, reason: Reason, message: String, fault: &ClusterFault) -> Ending {
        let journey = Journey::Unreachable {
            reason,
            message,
            after_success: self.has_succeeded(),
        };
        let at_least = fault.retry_after;
        let mut ending = Ending::new(journey, Recheck::Trouble { at_least });
        ending.keeps_row = true;
        ending
    }

    /// Our own row, if it is about the subject's current generation.
    pub(super) fn row(&self) -> Option<&AdapterStatus> {
        let generation = self.facts.subject.generation;
        own_row(&self.facts.statuses, &self.adapter.name).filter(|row| row.observed_generation == generation)
    }

    /// Whether our stored row says that this generation succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        succeeded(self.row())
    }

    /// Whether our stored row says that this generation succeeded, or that it did before it degraded.
    pub(super) fn has_succeeded_before(&self) -> bool {
        let is_degraded = |row: &AdapterStatus| {
            row.condition("Available")
                .is_some_and(|one| one.status == Truth::False && one.reason == Reason::WorkloadDegraded.name())
        };
        self.has_succeeded() || self.row().is_some_and(is_degraded)
    }

    /// The workloads that ended well at this generation, as our stored row names them.
    pub(super) fn finished(&self) -> Vec<String> {
        let named = self.row().and_then(|row| row.data["berth"]["finished"].as_array());
        named
            .into_iter()
            .flatten()
            .filter_map(|one| one.as_str().map(str::to_owned))
            .collect()
    }
}

/// How a reconcile ends whose report is not stored, or that learned nothing of its subject. An
/// outage passes and a token is renewed, so those are tried again; what is wrong with the request
/// itself stays wrong: then `rejected` tells what was refused.
pub(super) fn refusal(fault: &FleetFault, rejected: Reason) -> Outcome {
    let message = fault.to_string();
    let (reason, after) = match fault {
        FleetFault::Unreachable { retry_after, .. } => (Reason::FleetApiUnreachable, *retry_after),
        FleetFault::Misconfigured { .. } => (Reason::FleetApiMisconfigured, None),
        FleetFault::Gone | FleetFault::Rejected { .. } => {
            return Outcome::Refused {
                reason: rejected,
                message,
            };
        }
    };
    Outcome::Retry { reason, message, after }
}

/// Under which name our row remembers since when an object has a trouble.
fn trouble_key(object: &Reference, diagnosis: &Diagnosis) -> String {
    format!("{object} {}", diagnosis.reason)
}

/// The row of an adapter.
pub(super) fn own_row<'r>(rows: &'r [AdapterStatus], adapter: &str) -> Option<&'r AdapterStatus> {
    rows.iter().find(|row| row.adapter == adapter)
}

/// Whether a row says that the work was done.
pub(super) fn succeeded(row: Option<&AdapterStatus>) -> bool {
    let is_true = |kind| {
        row.and_then(|row| row.condition(kind))
            .is_some_and(|one| one.status == Truth::True)
    };
    is_true("Available") && is_true("Applied")
}

/// RFC 3339 in UTC with microseconds.
pub(super) fn microseconds(time: Timestamp) -> String {
    format!("{time:.6}")
}
