//! The plugins of an adapter, loaded and prepared, and what stands behind their imports.
//!
//! Joins the runtime with the world: it has a plugin's configuration checked once, and asks it
//! with what the document grants. It decides nothing but when to leave a plugin alone that
//! fails again and again. Where a plugin's bytes come from is not known here.

mod selftest;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use berth_engine::{
    adapter::{Adapter, Plugin as Document, Source},
    contract::{HttpAction, Phase, PhaseAnswer, PluginFault, Query, Question, Reference, Selector},
    effect::{ClusterCause, ClusterFault, FleetFault},
    reason::Reason,
};
use berth_runtime::{
    CallContext, Cause, Digest, Kept, Plugin, PrepareError, Runtime,
    hosts::{ClusterRefusal, FleetQuestion, FleetRefusal, HostCalls, HttpAnswer, HttpQuestion, HttpRefusal, Search},
};
use serde_json::Value;

use crate::{
    config::{Problem, document::Loaded},
    dispatch::Live,
    driver,
    telemetry::Metrics,
    web::chain,
    world::{Identity, Plugins, World},
};

/// The component that evaluates expressions and templates of documents.
pub const DECLARATIVE: &[u8] = include_bytes!(env!("BERTH_DECLARATIVE_WASM_PATH"));

/// After so many failures in a row a plugin is left alone.
const FAILURES: u32 = 5;
/// For how long.
const SUSPENSION: Duration = Duration::from_secs(30);

/// Reads a variable of the host's environment by its name.
pub type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// Makes documents live.
#[derive(Clone)]
pub struct Loader {
    /// The sandbox.
    pub runtime: Arc<Runtime>,
    /// What plugins may be granted to ask.
    pub world: World,
    /// Where calls are counted.
    pub metrics: Arc<Metrics>,
    /// Reads a variable of the host's environment.
    pub variable: Variables,
}

impl Loader {
    /// Compiles a component. Takes seconds where it is not in the cache.
    ///
    /// # Errors
    /// Why the bytes are no plugin, in words, with the name of the cause.
    pub async fn compile(&self, bytes: Arc<[u8]>) -> Result<Arc<Plugin>, String> {
        let runtime = Arc::clone(&self.runtime);
        tokio::task::spawn_blocking(move || runtime.load(&bytes))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("{} ({})", chain(&error), error.reason()))
    }

    /// The plugin whose component has this SHA-256 (64 hex digits), if it need not be compiled.
    pub async fn known(&self, component: String) -> Option<Arc<Plugin>> {
        let digest = Digest::try_from(component).ok()?;
        let runtime = Arc::clone(&self.runtime);
        tokio::task::spawn_blocking(move || runtime.known(&digest)).await.ok()?
    }

    /// Prepares a document with its plugins: `plugins` holds each by its name in the document.
    /// Those named in `tried` are asked once for each phase that the document uses, on facts
    /// made up, with nothing behind their imports.
    ///
    /// # Errors
    /// Every problem found, each with its place in the document.
    pub async fn load(
        &self,
        loaded: &Loaded,
        plugins: &BTreeMap<String, Arc<Plugin>>,
        tried: &BTreeSet<String>,
    ) -> Result<Live, Refused> {
        let adapter = Arc::new(loaded.adapter.clone());
        let mut refused = Refused::default();
        let mut asked = HashMap::new();
        for (name, document) in &adapter.plugins {
            let one = match plugins.get(name) {
                Some(plugin) => self.prepare(&adapter, name, document, plugin, loaded).await,
                None => Err(Refused::at(
                    loaded,
                    name,
                    ".source",
                    "it is not loaded".to_owned(),
                    true,
                )),
            };
            let one = match one {
                Ok(one) if tried.contains(name) => {
                    let tried = selftest::run(&one.plugin, &one.context, &adapter).await;
                    tried.map(|()| one).map_err(|failed| {
                        let retry = failed.may_pass_later();
                        Refused::at(loaded, name, "", failed.to_string(), retry)
                    })
                }
                other => other,
            };
            match one {
                Ok(one) => {
                    asked.insert(name.clone(), one);
                }
                Err(more) => refused.add(more),
            }
        }
        if !refused.problems.is_empty() {
            return Err(refused);
        }
        let plugins = Asking {
            adapter: adapter.name.clone(),
            asked,
            metrics: Arc::clone(&self.metrics),
        };
        Ok(Live {
            adapter,
            plugins: Arc::new(plugins),
        })
    }

    async fn prepare(
        &self,
        adapter: &Arc<Adapter>,
        name: &str,
        document: &Document,
        plugin: &Arc<Plugin>,
        loaded: &Loaded,
    ) -> Result<Asked, Refused> {
        let at = |key: &str, message: String| Refused::at(loaded, name, key, message, false);
        for phase in Phase::ALL {
            if adapter.steps(phase).iter().any(|step| step.plugin == name) && !plugin.exports(phase) {
                let message = format!(
                    "the plugin does not export `{}`, which a step of the document asks for; it exports {}",
                    phase.name(),
                    exported(plugin)
                );
                return Err(at("", message));
            }
        }
        let mut variables = Vec::new();
        for variable in &document.grants.variables {
            match (self.variable)(variable) {
                Some(value) => variables.push((variable.clone(), value)),
                None => {
                    return Err(at(
                        ".grants",
                        format!("the variable `{variable}` is not set on the host"),
                    ));
                }
            }
        }
        let config = document.config.to_string();
        let prepared = match plugin.prepare(&config, &document.limits).await {
            Ok(prepared) => prepared,
            Err(PrepareError::Problems(problems)) => {
                let problems = problems.into_iter().map(|problem| Problem {
                    hint: problem.hint,
                    ..loaded.origin.problem(name, &problem.path, &problem.message)
                });
                return Err(Refused {
                    problems: problems.collect(),
                    retry: false,
                });
            }
            Err(error @ PrepareError::Call(Cause::DeadlineExceeded { .. } | Cause::Unavailable(_))) => {
                return Err(Refused::at(loaded, name, "", chain(&error), true));
            }
            Err(error @ PrepareError::Call(_)) => return Err(at("", chain(&error))),
        };
        let vary = match plugin.vary(&prepared, &document.limits).await {
            Ok(vary) => vary,
            Err(cause) => {
                let retry = matches!(cause, Cause::DeadlineExceeded { .. } | Cause::Unavailable(_));
                let message = format!("it does not say what its answers vary by: {}", chain(&cause));
                return Err(Refused::at(loaded, name, "", message, retry));
            }
        };
        let context = CallContext {
            name: name.into(),
            adapter: adapter.name.as_str().into(),
            namespace: adapter.namespace.as_str().into(),
            config: config.into(),
            prepared: prepared.into(),
            variables: variables.into(),
            limits: document.limits,
            grants: Arc::new(document.grants.clone()),
            host: Arc::new(Behind {
                world: self.world.clone(),
                identity: driver::identity(adapter),
            }),
            // Expressions and templates cannot remember anything.
            one_instance: document.source == Source::Embedded,
            vary,
        };
        Ok(Asked {
            plugin: Arc::clone(plugin),
            context,
            breaker: Mutex::default(),
        })
    }
}

/// Why a document cannot be live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether the same document may be loaded later, without anybody changing anything.
    pub retry: bool,
}

impl Refused {
    fn at(loaded: &Loaded, plugin: &str, key: &str, message: String, retry: bool) -> Self {
        let path = format!("spec.plugins.{plugin}{key}");
        Self {
            problems: vec![loaded.origin.at(&path, message, None)],
            retry,
        }
    }

    /// What cannot be cured by waiting decides.
    fn add(&mut self, more: Self) {
        self.retry = more.retry && (self.retry || self.problems.is_empty());
        self.problems.extend(more.problems);
    }
}

fn exported(plugin: &Plugin) -> String {
    let names: Vec<_> = plugin
        .phases()
        .into_iter()
        .map(|phase| format!("`{}`", phase.name()))
        .collect();
    if names.is_empty() {
        "no phase".to_owned()
    } else {
        names.join(", ")
    }
}

struct Asked {
    plugin: Arc<Plugin>,
    context: CallContext,
    breaker: Mutex<Breaker>,
}

/// Counts failures in a row, so that a plugin that always fails does not burn its limits
/// for every event.
#[derive(Debug, Default)]
struct Breaker {
    failures: u32,
    open_since: Option<Instant>,
}

impl Breaker {
    /// Whether the plugin is left alone now; after the suspension one call is let through.
    fn is_open(&mut self, now: Instant) -> bool {
        match self.open_since {
            Some(since) if now.duration_since(since) < SUSPENSION => true,
            Some(_) => {
                self.open_since = None;
                self.failures = FAILURES - 1;
                false
            }
            None => false,
        }
    }

    fn record(&mut self, failed: bool, now: Instant) {
        if !failed {
            *self = Self::default();
            return;
        }
        self.failures += 1;
        if self.failures >= FAILURES {
            self.open_since = Some(now);
        }
    }
}

struct Asking {
    adapter: String,
    asked: HashMap<String, Asked>,
    metrics: Arc<Metrics>,
}

#[async_trait]
impl Plugins for Asking {
    async fn ask(&self, name: &str, question: &Question, kept: &mut Kept) -> Result<PhaseAnswer, PluginFault> {
        let phase = question.phase();
        let fault = |reason: Reason, message: String| PluginFault {
            plugin: name.to_owned(),
            phase,
            reason: reason.name().to_owned(),
            message,
        };
        let Some(asked) = self.asked.get(name) else {
            return Err(fault(Reason::PluginUnavailable, "it is not loaded".to_owned()));
        };
        let breaker = || asked.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        if breaker().is_open(Instant::now()) {
            let message = format!("it failed {FAILURES} times in a row and is tried again within {SUSPENSION:?}");
            return Err(fault(Reason::PluginSuspended, message));
        }
        let began = Instant::now();
        let answered = asked.plugin.call_next(kept, question, &asked.context).await;
        let took = began.elapsed();
        match answered {
            Ok(answered) if answered.again => {
                self.metrics.plugin_answer_again(&self.adapter, name, phase);
                Ok(answered.answer)
            }
            Ok(answered) => {
                breaker().record(false, Instant::now());
                self.metrics
                    .plugin_called(&self.adapter, name, phase, Ok(()), took, answered.fuel_used);
                Ok(answered.answer)
            }
            Err(error) => {
                // What the plugin itself calls a failure is an answer of sorts: no limit was burnt.
                breaker().record(error.reason() != Reason::PluginFailed, Instant::now());
                let fault = error.into_fault();
                self.metrics
                    .plugin_called(&self.adapter, name, phase, Err(&fault.reason), took, 0);
                tracing::debug!(
                    adapter = self.adapter,
                    plugin = name,
                    reason = fault.reason,
                    "a plugin failed"
                );
                Err(fault)
            }
        }
    }
}

/// What answers granted imports of one adapter's plugins.
struct Behind {
    world: World,
    identity: Identity,
}

#[async_trait]
impl HostCalls for Behind {
    async fn fleet(&self, question: &FleetQuestion) -> Result<Value, FleetRefusal> {
        let action = HttpAction {
            name: "read".to_owned(),
            method: question.method.clone(),
            url: question.path.clone(),
            headers: question.headers.clone(),
            body: question.body.as_ref().map(Value::to_string),
        };
        match self.world.fleet.send(&action).await {
            Ok((200..=299, body)) => Ok(body),
            Ok((404, body)) => Err(FleetRefusal::NotFound(body)),
            Ok((status, body)) => Err(FleetRefusal::Rejected { status, body }),
            Err(FleetFault::Gone) => Err(FleetRefusal::NotFound(Value::Null)),
            Err(FleetFault::Rejected { status, .. }) => Err(FleetRefusal::Rejected {
                status,
                body: Value::Null,
            }),
            Err(fault @ (FleetFault::Unreachable { .. } | FleetFault::Misconfigured { .. })) => {
                Err(FleetRefusal::Unavailable(fault.to_string()))
            }
        }
    }

    async fn cluster_get(&self, target: &Reference) -> Result<Value, ClusterRefusal> {
        let query = Query {
            name: target.name.clone(),
            api_version: target.api_version.clone(),
            kind: target.kind.clone(),
            namespace: target.namespace.clone(),
            selector: Selector::Name(target.name.clone()),
        };
        let found = self.world.cluster.find(&self.identity, &query).await.map_err(refusal)?;
        found.into_iter().next().ok_or(ClusterRefusal::NotFound)
    }

    async fn cluster_find(&self, search: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        let query = Query {
            name: search.kind.clone(),
            api_version: search.api_version.clone(),
            kind: search.kind.clone(),
            namespace: search.namespace.clone(),
            selector: Selector::Labels(search.labels.clone()),
        };
        let mut found = self.world.cluster.find(&self.identity, &query).await.map_err(refusal)?;
        let name = |object: &Value, key: &str| object["metadata"][key].as_str().unwrap_or_default().to_owned();
        found.sort_by_cached_key(|object| (name(object, "namespace"), name(object, "name")));
        Ok(found)
    }

    async fn http(&self, question: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        self.world.web.send(question).await
    }
}

fn refusal(fault: ClusterFault) -> ClusterRefusal {
    match fault.cause {
        ClusterCause::Unreachable | ClusterCause::ConversionUnavailable | ClusterCause::Throttled => {
            ClusterRefusal::Unavailable(fault.message)
        }
        ClusterCause::Forbidden => ClusterRefusal::Denied(fault.message),
        ClusterCause::UnknownKind | ClusterCause::NamespaceMissing { .. } => ClusterRefusal::NotFound,
        ClusterCause::Quota
        | ClusterCause::LimitRange
        | ClusterCause::Admission
        | ClusterCause::WebhookUnavailable
        | ClusterCause::FieldConflict { .. }
        | ClusterCause::Stale
        | ClusterCause::Immutable
        | ClusterCause::Invalid
        | ClusterCause::NamespaceTerminating { .. }
        | ClusterCause::TooLarge
        | ClusterCause::Other => ClusterRefusal::Rejected(fault.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_fails_five_times_in_a_row_is_left_alone_for_a_while() {
        let mut breaker = Breaker::default();
        let began = Instant::now();
        for _ in 0..FAILURES {
            assert!(!breaker.is_open(began));
            breaker.record(true, began);
        }
        assert!(breaker.is_open(began + SUSPENSION / 2));
        assert!(!breaker.is_open(began + SUSPENSION));
        breaker.record(true, began + SUSPENSION);
        assert!(
            breaker.is_open(began + SUSPENSION),
            "one more failure suspends it again"
        );
    }

    #[test]
    fn one_answer_forgets_earlier_failures() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..FAILURES - 1 {
            breaker.record(true, now);
        }
        breaker.record(false, now);
        breaker.record(true, now);
        assert!(!breaker.is_open(now));
    }
}
