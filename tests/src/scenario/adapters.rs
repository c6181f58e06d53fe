//! The adapters of the scenario: two with plugins of native code, and one of YAML alone that
//! the sandbox runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use async_trait::async_trait;
use berth::{
    config::{document, host::HostLimits},
    dispatch::Live,
    plugins::{DECLARATIVE, Loader},
    serve,
    telemetry::Metrics,
    world::{Plugins, World},
};
use berth_engine::{
    adapter::{Adapter, Dependency, During, Grants, Limits, NotApplicable, Of, Permit, Plugin, Source, Step},
    contract::{
        Achievement, Facts, Manifest, Operation, Phase, PhaseAnswer, Plan, PluginFault, Question, Said, StatusAnswer,
        Verdict,
    },
};
use berth_runtime::Kept;
use indexmap::IndexMap;
use serde_json::{Value, json};

/// The namespace that everything is in.
pub(super) const NAMESPACE: &str = "scenario";
/// The adapters of clusters; the second depends on the first.
pub(super) const VALIDATION: &str = "validation";
pub(super) const DNS: &str = "dns";
/// The adapter of node pools; depends on the second of their cluster.
pub(super) const SIZING: &str = "sizing";

const SIZING_DOCUMENT: &str = r#"
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: sizing}
spec:
  subjects: [NodePool]
  dependsOn: [{adapter: dns, of: owner}]
  namespace: scenario
  serviceAccount: sizing
  permits: [{apiVersion: batch/v1, kind: Job}]
  preconditions:
    - {name: nodes, expression: 'subject.spec.nodes > 0', message: the node pool asks for no nodes}
  resources:
    - name: size
      manifest:
        apiVersion: batch/v1
        kind: Job
        metadata: {name: "size-{{ .subject.id }}-{{ .subject.generation }}"}
        spec:
          backoffLimit: 0
          template:
            spec:
              restartPolicy: Never
              containers: [{name: size, image: registry.example.com/size:1}]
"#;

/// Which adapters take care of a kind.
pub(super) fn of_kind(kind: &str) -> &'static [&'static str] {
    if kind == "Cluster" {
        &[VALIDATION, DNS]
    } else {
        &[SIZING]
    }
}

/// The adapters, ready to be asked, loaded once a process: plugins keep nothing between calls.
pub(super) fn loaded(world: &World) -> Result<Vec<Live>> {
    static LOADED: Mutex<Option<Vec<Live>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(live) = &*loaded {
        return Ok(live.clone());
    }
    let live = load(world)?;
    *loaded = Some(live.clone());
    Ok(live)
}

/// The sandbox compiles on other threads, so this comes before virtual time begins.
fn load(world: &World) -> Result<Vec<Live>> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start the asynchronous runtime")?;
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("sizing.yaml"), SIZING_DOCUMENT)?;
    let mut documents = document::load_folder(folder.path(), &HostLimits::default_caps())
        .strict()
        .context("the document is wrong")?;
    for plugin in documents
        .iter_mut()
        .flat_map(|loaded| loaded.adapter.plugins.values_mut())
    {
        // Of the machine's time, which must not decide what happens.
        plugin.limits.deadline = Duration::from_secs(60);
    }
    let loader = Loader {
        runtime: serve::runtime(None)?,
        world: world.clone(),
        metrics: Arc::new(Metrics::new("scenario", "scenario")),
        variable: Arc::new(|_| None),
    };
    let mut live = vec![
        native(VALIDATION, &[], &[("batch/v1", "Job")]),
        native(DNS, &[VALIDATION], &[("apps/v1", "Deployment"), ("v1", "ConfigMap")]),
    ];
    let compiled = runtime.block_on(loader.compile(DECLARATIVE.into()));
    let compiled = compiled.map_err(|problem| anyhow!("the plugin cannot be compiled: {problem}"))?;
    for loaded in &documents {
        let names = loaded.adapter.plugins.keys().cloned();
        let plugins = names.map(|name| (name, Arc::clone(&compiled))).collect();
        let found = runtime.block_on(loader.load(loaded, &plugins, &BTreeSet::new()));
        let sandboxed = found.map_err(|problems| anyhow!("the document cannot be loaded: {problems:?}"))?;
        live.push(Live {
            plugins: Arc::new(AtOnce(sandboxed.plugins)),
            ..sandboxed
        });
    }
    Ok(live)
}

fn native(name: &str, dependencies: &[&str], kinds: &[(&str, &str)]) -> Live {
    let step = vec![Step {
        plugin: name.to_owned(),
        during: During::Life,
    }];
    let plugin = Plugin {
        source: Source::Embedded,
        pull_secrets: Vec::new(),
        config: json!({}),
        limits: Limits::default(),
        grants: Grants::default(),
    };
    let permit = |(api_version, kind): &(&str, &str)| Permit {
        api_version: (*api_version).to_owned(),
        kind: (*kind).to_owned(),
        namespace: None,
        name: None,
    };
    let depends_on = dependencies.iter().map(|adapter| Dependency {
        adapter: (*adapter).to_owned(),
        of: Of::Subject,
    });
    let adapter = Adapter {
        name: name.to_owned(),
        subjects: vec!["Cluster".to_owned()],
        events: BTreeMap::new(),
        depends_on: depends_on.collect(),
        namespace: NAMESPACE.to_owned(),
        service_account: name.to_owned(),
        permits: kinds.iter().map(permit).collect(),
        plugins: IndexMap::from([(name.to_owned(), plugin)]),
        phases: BTreeMap::from([(Phase::Preconditions, step.clone()), (Phase::Resources, step)]),
        resources: BTreeMap::new(),
        cleanup: None,
        grace: Duration::from_secs(600),
        not_applicable: NotApplicable::NotAvailable,
    };
    Live {
        adapter: Arc::new(adapter),
        plugins: Arc::new(Native),
    }
}

/// Decides by the subject's spec alone.
struct Native;

#[async_trait]
impl Plugins for Native {
    async fn ask(&self, _: &str, question: &Question, _: &mut Kept) -> Result<PhaseAnswer, PluginFault> {
        let said = match question {
            Question::Preconditions { facts } => {
                Said::Preconditions(if facts.subject.document["spec"]["provider"] == "gcp" {
                    Verdict::Proceed
                } else {
                    Verdict::NotApplicable("only clusters on gcp".to_owned())
                })
            }
            Question::Resources { facts, .. } => Said::Resources(plan(facts)),
            Question::Postconditions { .. } => Said::Postconditions(Achievement::Achieved),
            Question::Status { .. } => Said::Status(StatusAnswer::default()),
        };
        Ok(PhaseAnswer {
            said,
            carry: Value::Null,
        })
    }
}

fn plan(facts: &Facts) -> Plan {
    let (id, spec) = (&facts.subject.key.id, &facts.subject.document["spec"]);
    let metadata = |prefix: &str| json!({"name": format!("{prefix}-{id}")});
    let containers = json!([{"name": "work", "image": "registry.example.com/work:1"}]);
    let documents = if facts.adapter == VALIDATION {
        vec![(
            "check",
            json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("check"),
                "spec": {"backoffLimit": 0, "template": {
                    "metadata": {"annotations": {"test/outcome": spec["outcome"]}},
                    "spec": {"restartPolicy": "Never", "containers": containers},
                }},
            }),
        )]
    } else {
        vec![
            (
                "zone",
                json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("zone"),
                    "data": {"version": spec["version"].to_string()},
                }),
            ),
            (
                "server",
                json!({
                    "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("server"),
                    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": id}}, "template": {
                        "metadata": {"labels": {"app": id}}, "spec": {"containers": containers},
                    }},
                }),
            ),
        ]
    };
    let apply = |(name, document): (&str, Value)| {
        Operation::Apply(Manifest {
            name: name.to_owned(),
            document: document.into(),
            recreate: false,
            after: Vec::new(),
        })
    };
    Plan {
        operations: documents.into_iter().map(apply).collect(),
        more: false,
    }
}

/// Answers without letting anybody else have a turn: how often the sandbox lets go depends on
/// the machine's clock, which must not decide what happens next.
struct AtOnce(Arc<dyn Plugins>);

#[async_trait]
impl Plugins for AtOnce {
    async fn ask(&self, plugin: &str, question: &Question, kept: &mut Kept) -> Result<PhaseAnswer, PluginFault> {
        futures::executor::block_on(self.0.ask(plugin, question, kept))
    }
}
