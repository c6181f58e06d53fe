//! What the phases of one reconcile share, and how it ends.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    adapter::Adapter,
    contract::{
        AdapterStatus, Facts, Nature, Object, OperationResult, Phase, PhaseAnswer, PluginFault, Question, Said, Truth,
    },
    effect::{ClusterCause, ClusterFault, KindScope, Observed, Ownership},
    manifest,
    reason::Reason,
    report::Journey,
};

use super::{Recheck, evidence, io::Io};

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
            // Nothing is proven of what exists by berth's own lack of rights.
            Err(fault) if fault.cause == ClusterCause::Forbidden => {
                let message = format!("Objects cannot be seen: {}", fault.message);
                Err(self.unseen(Reason::ReadForbidden, message, &fault).into())
            }
            Err(fault) => Err(self.stopped_by(&fault, "listing objects").into()),
        }
    }

    /// A workload that is meant to run for ever may still recover, whatever its containers do:
    /// within grace it is under way.
    fn bear_crashes(&mut self) {
        for one in &mut self.observed {
            let Some(diagnosis) = &mut one.diagnosis else { continue };
            let since = diagnosis
                .since
                .as_deref()
                .and_then(|since| since.parse::<Timestamp>().ok());
            let may_recover = diagnosis.reason == Reason::CrashLoop.name() || manifest::runs_for_ever(&one.reference);
            if diagnosis.nature == Nature::Failure
                && may_recover
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
                let message = format!("Kubernetes API unreachable while {doing}: {}", fault.message);
                self.outage(Reason::KubernetesApiUnreachable, message, fault)
            }
            // Neither proves anything of what exists: as an outage, it takes no success back.
            ClusterCause::Throttled => {
                let message = format!(
                    "Kubernetes API refuses too many requests while {doing}: {}",
                    fault.message
                );
                self.unseen(Reason::KubernetesApiThrottled, message, fault)
            }
            ClusterCause::ConversionUnavailable => {
                let message = format!("A custom resource cannot be converted while {doing}: {}", fault.message);
                self.unseen(Reason::ConversionUnavailable, message, fault)
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

    /// An [`outage`](Self::outage), with what to do about it.
    fn unseen(&self, reason: Reason, message: String, fault: &ClusterFault) -> Ending {
        let message = format!("{}. {}", message.trim_end_matches('.'), reason.remediation());
        self.outage(reason, message, fault)
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

    /// Whether our stored row says that this generation succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        succeeded(self.row.as_ref())
    }

    /// Whether our stored row says that this generation succeeded, or that it did before it degraded.
    pub(super) fn has_succeeded_before(&self) -> bool {
        let is_degraded = |row: &AdapterStatus| {
            row.condition("Available")
                .is_some_and(|one| one.status == Truth::False && one.reason == Reason::WorkloadDegraded.name())
        };
        self.has_succeeded() || self.row.as_ref().is_some_and(is_degraded)
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
