//! A world of plain values for tests of the reconcile.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    adapter::{Adapter, Cleanup, Dependency, During, Limits, NotApplicable, Of, Permit, Plugin, Source, Step as Asked},
    contract::{
        Achievement, AdapterStatus, Condition, Diagnosis, Manifest, Nature, Operation, Phase, PhaseAnswer, Plan,
        PluginFault, Propagation, Question, Said, StatusAnswer, Trigger, Truth, Verdict,
    },
    effect::{
        Answer, Apply, ClusterCause, ClusterFault, Delete, Deleted, Effect, Expect, FleetFault, KindScope, Observed,
        Reported,
    },
    manifest,
    reconcile::{Input, Memory, Outcome, Reconcile, Step},
    report::Report,
    subject::{OwnerRef, SubjectKey, SubjectRef},
};

type Asker = Box<dyn FnMut(&str, &Question) -> Result<PhaseAnswer, PluginFault>>;
type Hook = Box<dyn FnMut(&Effect) -> Option<Answer>>;

/// What there is, and what was done to it.
pub(super) struct World {
    pub(super) adapter: Adapter,
    pub(super) now: Timestamp,
    /// The API server's clock, if it is known.
    pub(super) cluster_now: Option<Timestamp>,
    pub(super) documents: BTreeMap<String, Value>,
    pub(super) statuses: BTreeMap<String, Vec<AdapterStatus>>,
    pub(super) objects: Vec<Observed>,
    pub(super) reports: Vec<Report>,
    pub(super) memory: Memory,
    /// Whether a delete leaves the object with a deletion timestamp.
    pub(super) lingers: bool,
    pub(super) by_hand: bool,
    /// What an object that was just written shows.
    pub(super) applied_diagnosis: Option<Diagnosis>,
    /// The generation that the event tells.
    pub(super) told_generation: u32,
    pub(super) plugin: Asker,
    /// Answers instead of the world.
    pub(super) hook: Hook,
    transcript: String,
    next: u64,
}

pub(super) const HREF: &str = "/api/hyperfleet/v1/clusters/c-1";

pub(super) fn job(name: &str) -> Value {
    json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name }, "spec": { "template": { "spec": {} } } })
}

pub(super) fn apply(name: &str, document: Value) -> Operation {
    Operation::Apply(Manifest {
        name: name.into(),
        document: document.into(),
        recreate: false,
        after: Vec::new(),
    })
}

pub(super) fn plan(operations: Vec<Operation>) -> Said {
    Said::Resources(Plan {
        operations,
        more: false,
    })
}

pub(super) fn fault(cause: ClusterCause, message: &str) -> ClusterFault {
    ClusterFault {
        cause,
        message: message.into(),
        retry_after: None,
    }
}

pub(super) fn row(adapter: &str, generation: u32, available: bool) -> AdapterStatus {
    let condition = |kind: &str, status: bool| Condition {
        kind: kind.into(),
        status: Truth::from(status),
        reason: "Said".into(),
        message: String::new(),
    };
    AdapterStatus {
        adapter: adapter.into(),
        observed_generation: generation,
        conditions: vec![
            condition("Applied", available),
            condition("Available", available),
            condition("Health", true),
        ],
        data: json!({}),
        last_report_time: String::new(),
    }
}

pub(super) fn diagnosis(nature: Nature, reason: &str, message: &str) -> Diagnosis {
    Diagnosis {
        nature,
        reason: reason.into(),
        message: message.into(),
        since: None,
        exit_code: None,
        termination_message: None,
        attempt: None,
        attempts: None,
        exits: Vec::new(),
    }
}

impl World {
    /// A live cluster at generation 1, and an adapter whose one plugin `lz` plans one Job.
    pub(super) fn new() -> Self {
        let plugin = Plugin {
            source: Source::Embedded,
            pull_secrets: Vec::new(),
            config: json!({}),
            limits: Limits::default(),
            grants: crate::adapter::Grants::default(),
        };
        let asked = || {
            vec![Asked {
                plugin: "lz".into(),
                during: During::Life,
            }]
        };
        let adapter = Adapter {
            name: "lz".into(),
            subjects: vec!["Cluster".into()],
            events: Default::default(),
            depends_on: Vec::new(),
            namespace: "work".into(),
            service_account: "lz".into(),
            permits: vec![
                Permit {
                    api_version: "batch/v1".into(),
                    kind: "Job".into(),
                    namespace: None,
                    name: None,
                },
                Permit {
                    api_version: "v1".into(),
                    kind: "ConfigMap".into(),
                    namespace: None,
                    name: None,
                },
                Permit {
                    api_version: "apps/v1".into(),
                    kind: "Deployment".into(),
                    namespace: None,
                    name: None,
                },
            ],
            plugins: IndexMap::from([("lz".to_owned(), plugin)]),
            phases: BTreeMap::from([(Phase::Preconditions, asked()), (Phase::Resources, asked())]),
            resources: BTreeMap::new(),
            cleanup: None,
            grace: Duration::from_secs(120),
            not_applicable: NotApplicable::default(),
        };
        let mut world = Self {
            adapter,
            now: "2026-11-23T10:00:00Z".parse().unwrap(),
            cluster_now: None,
            documents: BTreeMap::new(),
            statuses: BTreeMap::new(),
            objects: Vec::new(),
            reports: Vec::new(),
            memory: Memory::default(),
            lingers: false,
            by_hand: false,
            applied_diagnosis: None,
            told_generation: 1,
            plugin: Box::new(|_, question| {
                Ok(PhaseAnswer {
                    said: match question {
                        Question::Preconditions { .. } => Said::Preconditions(Verdict::Proceed),
                        Question::Resources { .. } => plan(vec![apply("validate", job("validate-c-1"))]),
                        Question::Postconditions { .. } => Said::Postconditions(Achievement::Achieved),
                        Question::Status { .. } => Said::Status(StatusAnswer::default()),
                    },
                    carry: Value::Null,
                })
            }),
            hook: Box::new(|_| None),
            transcript: String::new(),
            next: 100,
        };
        world.generation(1);
        world
    }

    pub(super) fn generation(&mut self, generation: u32) {
        let document = json!({ "id": "c-1", "kind": "Cluster", "href": HREF, "generation": generation, "spec": {} });
        self.documents.insert(HREF.into(), document);
    }

    pub(super) fn delete_subject(&mut self, generation: u32) {
        self.generation(generation);
        self.documents.get_mut(HREF).unwrap()["deleted_time"] = json!("2026-11-23T09:59:00Z");
    }

    pub(super) fn depends_on(mut self, adapter: &str, of: Of) -> Self {
        self.adapter.depends_on.push(Dependency {
            adapter: adapter.into(),
            of,
        });
        self
    }

    pub(super) fn cleanup(mut self, after: Duration) -> Self {
        self.adapter.cleanup = Some(Cleanup { after });
        self
    }

    pub(super) fn phase(mut self, phase: Phase, during: During) -> Self {
        self.adapter.phases.insert(
            phase,
            vec![Asked {
                plugin: "lz".into(),
                during,
            }],
        );
        self
    }

    /// Answers one phase; the others keep their answers.
    pub(super) fn says(mut self, phase: Phase, said: impl Fn(&Question) -> Said + 'static) -> Self {
        let mut others = self.plugin;
        self.plugin = Box::new(move |plugin, question| {
            if question.phase() == phase {
                Ok(PhaseAnswer {
                    said: said(question),
                    carry: Value::Null,
                })
            } else {
                others(plugin, question)
            }
        });
        self
    }

    pub(super) fn refuses(mut self, phase: Phase, reason: &'static str) -> Self {
        let mut others = self.plugin;
        self.plugin = Box::new(move |plugin, question| {
            if question.phase() == phase {
                let (plugin, reason) = (plugin.to_owned(), reason.to_owned());
                Err(PluginFault {
                    plugin,
                    phase,
                    reason,
                    message: "it is broken".into(),
                })
            } else {
                others(plugin, question)
            }
        });
        self
    }

    /// The cluster answers every write with this fault.
    pub(super) fn cluster_refuses(mut self, cause: ClusterCause, message: &'static str) -> Self {
        self.hook = Box::new(move |effect| match effect {
            Effect::Apply(_) => Some(Answer::Applied(Err(fault(cause.clone(), message)))),
            _ => None,
        });
        self
    }

    pub(super) fn object(&mut self, name: &str) -> &mut Observed {
        self.objects
            .iter_mut()
            .find(|one| one.reference.name == name)
            .expect("no such object")
    }

    pub(super) fn set_status(&mut self, name: &str, status: Value) {
        let object = self.object(name);
        let mut document = (*object.document).clone();
        document["status"] = status;
        object.document = document.into();
    }

    pub(super) fn complete(&mut self, name: &str, at: &str) {
        self.set_status(
            name,
            json!({
                "startTime": "2026-11-23T10:00:00Z", "completionTime": at, "succeeded": 1,
                "conditions": [{ "type": "Complete", "status": "True" }],
            }),
        );
    }

    pub(super) fn diagnose(&mut self, name: &str, diagnosis: Diagnosis) {
        self.object(name).diagnosis = Some(diagnosis);
    }

    pub(super) fn later(&mut self, seconds: i64) {
        let passed = jiff::SignedDuration::from_secs(seconds);
        self.now = self.now.checked_add(passed).unwrap();
        self.cluster_now = self.cluster_now.map(|now| now.checked_add(passed).unwrap());
    }

    /// One reconcile for an event at the subject's generation.
    pub(super) fn reconcile(&mut self) -> Outcome {
        self.reconcile_for(Trigger::Event(json!({ "id": "e-1" }).into()))
    }

    pub(super) fn reconcile_for(&mut self, trigger: Trigger) -> Outcome {
        self.transcript.clear();
        let owner = self
            .documents
            .get(HREF)
            .and_then(|one| one.get("owner_references"))
            .and_then(OwnerRef::from_document);
        let input = Input {
            adapter: Arc::new(self.adapter.clone()),
            subject: SubjectRef {
                key: SubjectKey {
                    kind: "Cluster".into(),
                    id: "c-1".into(),
                },
                href: HREF.into(),
                generation: self.told_generation,
                owner,
            },
            trigger,
            by_hand: self.by_hand,
            now: self.now,
            cluster_now: self.cluster_now,
            memory: self.memory.clone(),
        };
        let mut reconcile = Reconcile::new(input);
        let mut answer = None;
        loop {
            match reconcile.next(answer.take()) {
                Step::Done(outcome) => {
                    if let Outcome::Reported(reported) = &outcome {
                        self.memory = reported.memory.clone();
                    }
                    return outcome;
                }
                Step::Do(effect) => {
                    let line = line(&effect);
                    let given = (self.hook)(&effect).unwrap_or_else(|| self.answer(&effect));
                    writeln!(self.transcript, "{line}{}", ending(&given)).unwrap();
                    answer = Some(given);
                }
            }
        }
    }

    pub(super) fn transcript(&self) -> &str {
        self.transcript.trim_end()
    }

    /// `Applied=True Available=False Health=True`, and the text on Available.
    pub(super) fn told(&self) -> String {
        let report = self.reports.last().expect("nothing was reported");
        let mut text = String::new();
        for condition in &report.conditions {
            write!(text, "{}={:?}({}) ", condition.kind, condition.status, condition.reason).unwrap();
        }
        let message = |kind: &str| {
            let found = report.conditions.iter().find(|one| one.kind == kind);
            found.map(|one| one.message.clone()).unwrap_or_default()
        };
        write!(text, "@{}\n{}", report.observed_generation, message("Available")).unwrap();
        if report
            .conditions
            .iter()
            .any(|one| one.kind == "Health" && one.status != Truth::True)
        {
            write!(text, "\nHealth: {}", message("Health")).unwrap();
        }
        text
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    fn answer(&mut self, effect: &Effect) -> Answer {
        match effect {
            Effect::Fetch { path } => Answer::Fetched(
                self.documents
                    .get(path)
                    .cloned()
                    .map(Into::into)
                    .ok_or(FleetFault::Gone),
            ),
            Effect::Statuses { path } => Answer::Statuses(Ok(self.statuses.get(path).cloned().unwrap_or_default())),
            Effect::Ask { plugin, question } => Answer::Said((self.plugin)(plugin, question).map(Box::new)),
            Effect::Observe(ownership) => {
                let is_asked = |one: &&Observed| ownership.kinds.iter().any(|scope| covers(scope, one));
                Answer::Observed(Ok(self.objects.iter().filter(is_asked).cloned().collect()))
            }
            Effect::Find(_) => Answer::Found(Ok(Vec::new())),
            Effect::Apply(apply) => Answer::Applied(self.apply(apply).map(Box::new)),
            Effect::Delete(delete) => Answer::Deleted(self.delete(delete)),
            Effect::Report { path, report } => {
                self.reports.push((**report).clone());
                let stored = AdapterStatus {
                    adapter: report.adapter.clone(),
                    observed_generation: report.observed_generation,
                    conditions: report.conditions.clone(),
                    data: report.data.clone(),
                    last_report_time: report.as_of.to_string(),
                };
                let rows = self.statuses.entry(path.clone()).or_default();
                rows.retain(|row| row.adapter != stored.adapter);
                rows.push(stored);
                Answer::Reported(Ok(Reported::Stored))
            }
            Effect::Act { .. } => Answer::Acted(Ok(())),
        }
    }

    fn apply(&mut self, apply: &Apply) -> Result<Observed, ClusterFault> {
        let at = self
            .objects
            .iter()
            .position(|one| manifest::is_same(one, &apply.reference));
        let uid = match (&apply.expect, at) {
            (Expect::Absent, None) => self.fresh(),
            (Expect::Unchanged { uid, resource_version }, Some(index))
                if self.objects[index].uid == *uid && self.objects[index].resource_version == *resource_version =>
            {
                self.objects.remove(index).uid
            }
            _ => return Err(fault(ClusterCause::Stale, "the object has been modified")),
        };
        let (_, _, name, generation, hash) = manifest::read(&apply.document).expect("not dressed");
        let observed = Observed {
            reference: apply.reference.clone(),
            name,
            generation,
            manifest_hash: hash,
            uid,
            resource_version: self.fresh(),
            deleting: false,
            document: apply.document.clone().into(),
            statusless: false,
            diagnosis: self.applied_diagnosis.clone(),
        };
        self.objects.push(observed.clone());
        Ok(observed)
    }

    fn delete(&mut self, delete: &Delete) -> Result<Deleted, ClusterFault> {
        let Some(index) = self
            .objects
            .iter()
            .position(|one| manifest::is_same(one, &delete.reference))
        else {
            return Ok(Deleted::Absent);
        };
        if self.objects[index].uid != delete.uid || self.objects[index].resource_version != delete.resource_version {
            return Err(fault(ClusterCause::Stale, "the object has been modified"));
        }
        if self.lingers {
            self.objects[index].deleting = true;
        } else {
            self.objects.remove(index);
        }
        Ok(Deleted::Begun)
    }
}

/// Whether an object is found where somebody looks.
fn covers(scope: &KindScope, object: &Observed) -> bool {
    let reference = &object.reference;
    scope.api_version == reference.api_version
        && scope.kind == reference.kind
        && (scope.namespace.is_none() || scope.namespace == reference.namespace)
}

fn line(effect: &Effect) -> String {
    match effect {
        Effect::Fetch { path } => format!("fetch    {}", short(path)),
        Effect::Statuses { path } => format!("statuses {}", short(path)),
        Effect::Ask { plugin, question } => format!("ask      {plugin} {}", question.phase().name()),
        Effect::Observe(_) => "observe".to_owned(),
        Effect::Find(query) => format!("find     {} {}", query.kind, query.name),
        Effect::Apply(apply) => {
            let condition = match apply.expect {
                Expect::Absent => "if absent",
                Expect::Unchanged { .. } => "if unchanged",
            };
            format!("apply    {} {condition}", apply.reference)
        }
        Effect::Delete(delete) => {
            let how = match delete.propagation {
                Propagation::Background => "background",
                Propagation::Foreground => "foreground",
                Propagation::Orphan => "orphan",
            };
            format!("delete   {} {how}", delete.reference)
        }
        Effect::Report { path, report } => {
            let rows: Vec<_> = report
                .conditions
                .iter()
                .map(|one| format!("{}={:?}", one.kind, one.status))
                .collect();
            format!(
                "report   {} @{} {}",
                short(path),
                report.observed_generation,
                rows.join(" ")
            )
        }
        Effect::Act { action, .. } => format!("act      {} {}", action.method, action.url),
    }
}

fn short(path: &str) -> &str {
    path.trim_start_matches("/api/hyperfleet/v1/")
}

fn ending(answer: &Answer) -> String {
    let text = match answer {
        Answer::Fetched(Err(fault)) | Answer::Statuses(Err(fault)) | Answer::Reported(Err(fault)) => fault.to_string(),
        Answer::Acted(Err(fault)) => fault.to_string(),
        Answer::Said(Err(fault)) => fault.reason.clone(),
        Answer::Observed(Err(fault)) | Answer::Found(Err(fault)) => fault.to_string(),
        Answer::Applied(Err(fault)) => fault.to_string(),
        Answer::Deleted(Err(fault)) => fault.to_string(),
        Answer::Fetched(Ok(_)) | Answer::Statuses(Ok(_)) | Answer::Said(Ok(_)) | Answer::Observed(Ok(_)) => {
            return String::new();
        }
        Answer::Found(Ok(_)) | Answer::Applied(Ok(_)) | Answer::Deleted(Ok(_)) | Answer::Acted(Ok(())) => {
            return String::new();
        }
        Answer::Reported(Ok(Reported::Stored)) => return String::new(),
        Answer::Reported(Ok(Reported::Discarded)) => "discarded".to_owned(),
    };
    format!(" -> {text}")
}
