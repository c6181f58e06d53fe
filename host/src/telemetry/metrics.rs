//! Every metric of berth.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use berth_engine::{contract::Phase, reason::Reason};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::admin::{AdapterState, Standing};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventResult {
    /// It was settled and acknowledged.
    Done,
    /// It will be sent again.
    Retry,
    /// It failed again and again and was set aside.
    SetAside,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReportResult {
    /// Stored.
    Stored,
    /// Discarded as out of date.
    Discarded,
    /// Not delivered.
    Failed,
}

/// Journeys that the platform team is alerted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A workload cannot be created.
    A4,
    /// Objects of a subject that is being deleted, or is gone, cannot be removed.
    Deletion,
    /// An API cannot be reached, or a plugin fails.
    A6,
}

macro_rules! label {
    ($kind:ident { $( $case:ident => $text:literal ),+ $(,)? }) => {
        impl EncodeLabelValue for $kind {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> fmt::Result {
                let text = match self { $( Self::$case => $text, )+ };
                EncodeLabelValue::encode(&text, encoder)
            }
        }
    };
}
label!(EventResult { Done => "done", Retry => "retry", SetAside => "set_aside" });
label!(ReportResult { Stored => "stored", Discarded => "discarded", Failed => "failed" });
label!(Trouble { A4 => "A4", Deletion => "deletion", A6 => "A6" });

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySource {
    source: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySourceAndReason {
    source: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByEventResult {
    result: EventResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByJourney {
    adapter: String,
    journey: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByAdapter {
    adapter: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    adapter: String,
    plugin: String,
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhaseAndReason {
    adapter: String,
    plugin: String,
    phase: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReport {
    adapter: String,
    result: ReportResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTrouble {
    adapter: String,
    journey: Trouble,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStanding {
    adapter: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPlugin {
    adapter: String,
    plugin: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDigest {
    adapter: String,
    plugin: String,
    source: String,
    digest: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReload {
    what: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWhat {
    what: &'static str,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// All metrics. Cheap to call; share it in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    events_received: Family<BySource, Counter>,
    events_refused: Family<BySourceAndReason, Counter>,
    events_settled: Family<ByEventResult, Counter>,
    reconcile_seconds: Seconds<ByJourney>,
    plugin_calls: Family<ByPhaseAndReason, Counter>,
    plugin_seconds: Seconds<ByPhase>,
    plugin_fuel: Family<ByPhase, Counter>,
    plugin_again: Family<ByPhase, Counter>,
    reports: Family<ByReport, Counter>,
    trouble: Family<ByTrouble, Counter>,
    documents_refused: Gauge,
    adapters_live: Gauge,
    queue_depth: Gauge,
    watch_objects: Family<ByKind, Gauge>,
    watch_bytes: Gauge,
    last_report: Family<ByAdapter, Gauge<f64, AtomicU64>>,
    adapter_state: Family<ByStanding, Gauge>,
    plugin_live: Family<ByDigest, Gauge>,
    plugin_current: Family<ByPlugin, Gauge>,
    reloads: Family<ByReload, Counter>,
    last_reload: Family<ByWhat, Gauge>,
    restart_needed: Gauge,
    /// What was last told of plugins, so that it is taken back when it is no longer so.
    plugins: Mutex<HashMap<String, Vec<ByDigest>>>,
}

/// From a plugin's millisecond to the minute of a slow API.
fn seconds() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    ])
}

impl Metrics {
    /// Metrics of this build; `version` and `wasmtime` are its versions.
    #[must_use]
    pub fn new(version: &str, wasmtime: &str) -> Self {
        let mut registry = Registry::with_prefix("berth");
        let seconds: fn() -> Histogram = seconds;
        let metrics = Self {
            events_received: Family::default(),
            events_refused: Family::default(),
            events_settled: Family::default(),
            reconcile_seconds: Family::new_with_constructor(seconds),
            plugin_calls: Family::default(),
            plugin_seconds: Family::new_with_constructor(seconds),
            plugin_fuel: Family::default(),
            plugin_again: Family::default(),
            reports: Family::default(),
            trouble: Family::default(),
            documents_refused: Gauge::default(),
            adapters_live: Gauge::default(),
            queue_depth: Gauge::default(),
            watch_objects: Family::default(),
            watch_bytes: Gauge::default(),
            last_report: Family::default(),
            adapter_state: Family::default(),
            plugin_live: Family::default(),
            plugin_current: Family::default(),
            reloads: Family::default(),
            last_reload: Family::default(),
            restart_needed: Gauge::default(),
            plugins: Mutex::default(),
            registry: Registry::default(),
        };
        let build = Info::new(vec![("version", version.to_owned()), ("wasmtime", wasmtime.to_owned())]);
        registry.register("build", "Which build this is", build);
        registry.register(
            "events_received",
            "Events that arrived, by source",
            metrics.events_received.clone(),
        );
        registry.register(
            "events_refused",
            "Events that can never succeed",
            metrics.events_refused.clone(),
        );
        registry.register(
            "events_settled",
            "Events by what became of them",
            metrics.events_settled.clone(),
        );
        let text = "How long a reconcile took, in seconds, by how it ended";
        registry.register("reconcile_duration_seconds", text, metrics.reconcile_seconds.clone());
        let text = "Calls of plugins; the reason is `ok` or why there was no answer";
        registry.register("plugin_calls", text, metrics.plugin_calls.clone());
        let text = "How long a call of a plugin took, in seconds";
        registry.register("plugin_call_duration_seconds", text, metrics.plugin_seconds.clone());
        registry.register("plugin_fuel", "Fuel that plugins used", metrics.plugin_fuel.clone());
        let text = "Answers of plugins that were given again, without asking";
        registry.register("plugin_answers_again", text, metrics.plugin_again.clone());
        registry.register(
            "reports",
            "Status reports by what became of them",
            metrics.reports.clone(),
        );
        let text = "Reports that the platform team must know of: creation failed (A4), APIs or plugins failed (A6)";
        registry.register("trouble", text, metrics.trouble.clone());
        registry.register(
            "documents_refused",
            "Problems in adapter documents",
            metrics.documents_refused.clone(),
        );
        registry.register(
            "adapters_live",
            "Adapters that take events",
            metrics.adapters_live.clone(),
        );
        let text = "Reconciles that wait for their turn";
        registry.register("queue_depth", text, metrics.queue_depth.clone());
        registry.register(
            "watch_objects",
            "Objects held by watches, by kind",
            metrics.watch_objects.clone(),
        );
        registry.register(
            "watch_bytes",
            "Bytes held by watches, about",
            metrics.watch_bytes.clone(),
        );
        let text = "When a report was last stored, in seconds since 1970";
        registry.register("last_report_timestamp_seconds", text, metrics.last_report.clone());
        let text = "1 for what an adapter is: `wanted` by a document, `live`, `refused` as it is wanted";
        registry.register("adapter_state", text, metrics.adapter_state.clone());
        let text = "1 for each plugin that is live, with its source and digest";
        registry.register("plugin_live", text, metrics.plugin_live.clone());
        let text = "1 if the newest of a plugin's source is live, 0 if something keeps it from it";
        registry.register("plugin_current", text, metrics.plugin_current.clone());
        let text = "Changes of `documents` and of the `configuration` while berth runs, by what became of them";
        registry.register("reloads", text, metrics.reloads.clone());
        let text = "1 if the last change was taken over, 0 if it was refused";
        registry.register("last_reload_success", text, metrics.last_reload.clone());
        let text = "Settings that were changed in the configuration and need a restart";
        registry.register("restart_needed_settings", text, metrics.restart_needed.clone());
        Self { registry, ..metrics }
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Errors
    /// When a label cannot be written, which does not happen with our labels.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// An event arrived at `source`, such as `http`.
    pub fn event_received(&self, source: &'static str) {
        self.events_received.get_or_create(&BySource { source }).inc();
    }

    /// An event was refused.
    pub fn event_refused(&self, source: &'static str, reason: &'static str) {
        self.events_refused
            .get_or_create(&BySourceAndReason { source, reason })
            .inc();
    }

    /// An event was settled, or not.
    pub fn event_settled(&self, result: EventResult) {
        self.events_settled.get_or_create(&ByEventResult { result }).inc();
    }

    /// A reconcile ended in `journey`: `A1`, `Deleting`, and so on.
    pub fn reconcile_finished(&self, adapter: &str, journey: &str, duration: Duration) {
        let labels = ByJourney {
            adapter: adapter.to_owned(),
            journey: journey.to_owned(),
        };
        self.reconcile_seconds
            .get_or_create(&labels)
            .observe(duration.as_secs_f64());
    }

    /// A plugin was asked. `outcome` holds the reason of a failure; reasons that are not
    /// berth's own count as `PluginFailed`, since plugins invent them.
    pub fn plugin_called(
        &self,
        adapter: &str,
        plugin: &str,
        phase: Phase,
        outcome: Result<(), &str>,
        duration: Duration,
        fuel: u64,
    ) {
        let phase = phase.name();
        let (adapter, plugin) = (adapter.to_owned(), plugin.to_owned());
        let reason = match outcome {
            Ok(()) => "ok",
            Err(reason) => known(reason),
        };
        let labels = ByPhase { adapter, plugin, phase };
        self.plugin_seconds
            .get_or_create(&labels)
            .observe(duration.as_secs_f64());
        self.plugin_fuel.get_or_create(&labels).inc_by(fuel);
        let ByPhase { adapter, plugin, phase } = labels;
        self.plugin_calls
            .get_or_create(&ByPhaseAndReason {
                adapter,
                plugin,
                phase,
                reason,
            })
            .inc();
    }

    /// A plugin's answer was given again.
    pub fn plugin_answer_again(&self, adapter: &str, plugin: &str, phase: Phase) {
        let (adapter, plugin, phase) = (adapter.to_owned(), plugin.to_owned(), phase.name());
        self.plugin_again
            .get_or_create(&ByPhase { adapter, plugin, phase })
            .inc();
    }

    /// A report was sent. `now` is in seconds since 1970.
    pub fn report_sent(&self, adapter: &str, result: ReportResult, now: f64) {
        let adapter = adapter.to_owned();
        self.reports
            .get_or_create(&ByReport {
                adapter: adapter.clone(),
                result,
            })
            .inc();
        match result {
            ReportResult::Stored => {
                self.last_report.get_or_create(&ByAdapter { adapter }).set(now);
            }
            ReportResult::Discarded | ReportResult::Failed => {}
        }
    }

    /// An adapter is in a journey that the platform team must know of.
    pub fn trouble(&self, adapter: &str, journey: Trouble, reason: &str) {
        let labels = ByTrouble {
            adapter: adapter.to_owned(),
            journey,
            reason: known(reason),
        };
        self.trouble.get_or_create(&labels).inc();
    }

    /// Documents were read: so many adapters are live, so many problems were found.
    pub fn documents_read(&self, live: usize, problems: usize) {
        self.adapters_live.set(gauge(live));
        self.documents_refused.set(gauge(problems));
    }

    /// How an adapter stands, with its plugins.
    pub fn adapter_stands(&self, adapter: &AdapterState) {
        let (live, refused) = match adapter.state {
            Standing::Live => (true, false),
            Standing::Outdated => (true, true),
            Standing::Refused => (false, true),
            Standing::Loading => (false, false),
            Standing::Removed => return self.adapter_removed(&adapter.name),
        };
        for (state, holds) in [("wanted", true), ("live", live), ("refused", refused)] {
            let adapter = adapter.name.clone();
            self.adapter_state
                .get_or_create(&ByStanding { adapter, state })
                .set(holds.into());
        }
        let mut now = Vec::new();
        for plugin in &adapter.plugins {
            let (adapter, name) = (plugin.adapter.clone(), plugin.plugin.clone());
            let current = plugin.live.is_some() && plugin.newer.is_none() && plugin.why.is_none();
            let labels = ByPlugin { adapter, plugin: name };
            self.plugin_current.get_or_create(&labels).set(current.into());
            let ByPlugin { adapter, plugin: name } = labels;
            now.push(ByDigest {
                adapter,
                plugin: name,
                source: plugin.source.clone(),
                digest: plugin.live.clone().unwrap_or_default(),
            });
        }
        self.replace_plugins(&adapter.name, now);
    }

    /// An adapter was removed: nothing is told of it any more but what was counted.
    pub fn adapter_removed(&self, adapter: &str) {
        let owned = || adapter.to_owned();
        for state in ["wanted", "live", "refused"] {
            self.adapter_state.remove(&ByStanding {
                adapter: owned(),
                state,
            });
        }
        self.last_report.remove(&ByAdapter { adapter: owned() });
        self.replace_plugins(adapter, Vec::new());
    }

    fn replace_plugins(&self, adapter: &str, now: Vec<ByDigest>) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let before = if now.is_empty() {
            plugins.remove(adapter)
        } else {
            plugins.insert(adapter.to_owned(), now.clone())
        };
        for old in before.unwrap_or_default() {
            if !now.contains(&old) {
                self.plugin_live.remove(&old);
            }
            if !now.iter().any(|new| new.plugin == old.plugin) {
                let (adapter, plugin) = (old.adapter, old.plugin);
                self.plugin_current.remove(&ByPlugin { adapter, plugin });
            }
        }
        for new in now.iter().filter(|new| !new.digest.is_empty()) {
            self.plugin_live.get_or_create(new).set(1);
        }
    }

    /// A change of `documents` or of the `configuration` was taken over, or refused.
    pub fn reloaded(&self, what: &'static str, success: bool) {
        let result = if success { "success" } else { "refused" };
        self.reloads.get_or_create(&ByReload { what, result }).inc();
        self.last_reload.get_or_create(&ByWhat { what }).set(success.into());
    }

    /// So many settings were changed that need a restart.
    pub fn restart_needed(&self, settings: usize) {
        self.restart_needed.set(gauge(settings));
    }

    /// So many reconciles wait.
    pub fn queue_depth(&self, waiting: usize) {
        self.queue_depth.set(gauge(waiting));
    }

    /// Watches hold so many objects of a kind.
    pub fn watch_objects(&self, kind: &str, objects: usize) {
        self.watch_objects
            .get_or_create(&ByKind { kind: kind.to_owned() })
            .set(gauge(objects));
    }

    /// Watches hold about so many bytes.
    pub fn watch_bytes(&self, bytes: usize) {
        self.watch_bytes.set(gauge(bytes));
    }
}

fn gauge(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Labels must be few: only what berth itself can say.
fn known(reason: &str) -> &'static str {
    let own = Reason::ALL
        .iter()
        .map(|known| known.name())
        .find(|name| *name == reason);
    own.unwrap_or(Reason::PluginFailed.name())
}

/// Metrics that have seen each of their methods called.
#[cfg(test)]
pub(crate) fn sampled() -> Metrics {
    let metrics = Metrics::new("1.2.3", "48");
    metrics.event_received("http");
    metrics.event_refused("http", "TypeUnknown");
    metrics.event_settled(EventResult::Done);
    metrics.reconcile_finished("lz", "A2", Duration::from_millis(20));
    metrics.plugin_called("lz", "lz", Phase::Status, Ok(()), Duration::from_millis(2), 7_000);
    metrics.plugin_called("lz", "lz", Phase::Status, Err("PluginTrapped"), Duration::ZERO, 1);
    metrics.plugin_answer_again("lz", "lz", Phase::Resources);
    metrics.report_sent("lz", ReportResult::Stored, 1.5);
    metrics.report_sent("lz", ReportResult::Failed, 2.5);
    metrics.trouble("lz", Trouble::A4, "QuotaExceeded");
    metrics.documents_read(2, 1);
    metrics.adapter_stands(&sample("lz", Standing::Outdated));
    metrics.adapter_stands(&sample("gone", Standing::Live));
    metrics.adapter_stands(&sample("gone", Standing::Removed));
    metrics.reloaded("documents", true);
    metrics.reloaded("documents", false);
    metrics.restart_needed(2);
    metrics.queue_depth(3);
    metrics.watch_objects("Job", 4);
    metrics.watch_bytes(5);
    metrics
}

#[cfg(test)]
fn sample(name: &str, state: Standing) -> AdapterState {
    let plugin = super::admin::PluginState {
        adapter: name.to_owned(),
        plugin: "lz".to_owned(),
        source: "oci://registry.example/lz:1".to_owned(),
        live: Some("sha256:1".to_owned()),
        since: None,
        signed_by: Vec::new(),
        newer: Some("sha256:2".to_owned()),
        why: None,
    };
    AdapterState {
        name: name.to_owned(),
        state,
        file: None,
        live: None,
        since: None,
        wanted: None,
        problems: Vec::new(),
        subjects: Vec::new(),
        namespace: None,
        service_account: None,
        kinds: Vec::new(),
        plugins: vec![plugin],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn metrics_have_stable_names_and_labels() {
        let metrics = sampled();
        let text = metrics.encode().unwrap();
        let mut values: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.contains("_bucket{"))
            .collect();
        // Series of one metric come in any order.
        values.sort_unstable();
        insta::assert_snapshot!(values.join("\n"), @r#"
        berth_adapter_state{adapter="lz",state="live"} 1
        berth_adapter_state{adapter="lz",state="refused"} 1
        berth_adapter_state{adapter="lz",state="wanted"} 1
        berth_adapters_live 2
        berth_build_info{version="1.2.3",wasmtime="48"} 1
        berth_documents_refused 1
        berth_events_received_total{source="http"} 1
        berth_events_refused_total{source="http",reason="TypeUnknown"} 1
        berth_events_settled_total{result="done"} 1
        berth_last_reload_success{what="documents"} 0
        berth_last_report_timestamp_seconds{adapter="lz"} 1.5
        berth_plugin_answers_again_total{adapter="lz",plugin="lz",phase="resources"} 1
        berth_plugin_call_duration_seconds_count{adapter="lz",plugin="lz",phase="status"} 2
        berth_plugin_call_duration_seconds_sum{adapter="lz",plugin="lz",phase="status"} 0.002
        berth_plugin_calls_total{adapter="lz",plugin="lz",phase="status",reason="PluginTrapped"} 1
        berth_plugin_calls_total{adapter="lz",plugin="lz",phase="status",reason="ok"} 1
        berth_plugin_current{adapter="lz",plugin="lz"} 0
        berth_plugin_fuel_total{adapter="lz",plugin="lz",phase="status"} 7001
        berth_plugin_live{adapter="lz",plugin="lz",source="oci://registry.example/lz:1",digest="sha256:1"} 1
        berth_queue_depth 3
        berth_reconcile_duration_seconds_count{adapter="lz",journey="A2"} 1
        berth_reconcile_duration_seconds_sum{adapter="lz",journey="A2"} 0.02
        berth_reloads_total{what="documents",result="refused"} 1
        berth_reloads_total{what="documents",result="success"} 1
        berth_reports_total{adapter="lz",result="failed"} 1
        berth_reports_total{adapter="lz",result="stored"} 1
        berth_restart_needed_settings 2
        berth_trouble_total{adapter="lz",journey="A4",reason="QuotaExceeded"} 1
        berth_watch_bytes 5
        berth_watch_objects{kind="Job"} 4
        "#);
    }

    #[test]
    fn a_plugins_own_reasons_do_not_become_labels() {
        let metrics = Metrics::new("1", "48");
        for number in 0..100 {
            let reason = format!("Invented{number}");
            metrics.plugin_called("lz", "lz", Phase::Status, Err(&reason), Duration::ZERO, 0);
            metrics.trouble("lz", Trouble::A6, &reason);
        }
        let text = metrics.encode().unwrap();
        assert!(!text.contains("Invented"));
        assert!(text.contains(r#"reason="PluginFailed"} 100"#));
    }
}
