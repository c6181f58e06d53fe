//! One document -> one [`Adapter`].

use std::{collections::BTreeMap, time::Duration};

use berth_engine::adapter::{
    Adapter, Cleanup, DECLARATIVE, Dependency, Grants, Limits, NotApplicable, Of, Permit, Plugin, Source, Subscription,
};

use super::{
    API_VERSION,
    names::{Name, api_version, name, name_or_any, namespace_pattern, object_name, pattern},
    plugins, steps,
};
use crate::config::{
    check::Check,
    reader::{Item, Mapping, Notes},
};

const SPEC: &[&str] = &[
    "subjects",
    "events",
    "dependsOn",
    "namespace",
    "serviceAccount",
    "permits",
    "plugins",
    "preconditions",
    "resources",
    "postconditions",
    "status",
    "cleanup",
    "grace",
    "notApplicable",
];

/// The service account that every namespace has, and that has no rights unless somebody grants it some.
const SERVICE_ACCOUNT: &str = "default";
const GRACE: Duration = Duration::from_secs(120);

/// Where list items of the embedded plugin's configuration stand in the document.
pub(super) type Moved = Vec<(String, String)>;

/// Reads a document. What is answered is whole only where nothing was noted.
pub(super) fn adapter(document: &Item<'_>, notes: &Notes<'_>, caps: &Limits) -> Option<(Adapter, Moved)> {
    let root = document.mapping(&["apiVersion", "kind", "metadata", "spec"])?;
    if let Some(item) = root.require("apiVersion") {
        item.choice(&[(API_VERSION, ())]);
    }
    if let Some(item) = root.require("kind") {
        item.choice(&[("Adapter", ())]);
    }
    let name = root
        .require("metadata")
        .and_then(|item| item.mapping(&["name"]))
        .and_then(|metadata| metadata.require("name"))
        .and_then(|item| name(&item, Name::Label));
    if let Some(name) = &name {
        notes.adapter(name);
    }
    let spec = root.require("spec")?.mapping(SPEC)?;
    let subjects = subjects(&spec);
    let events = events(&spec);
    let depends_on = dependencies(&spec);
    let namespace = spec
        .require("namespace")
        .and_then(|item| self::name(&item, Name::Label));
    let service_account = spec
        .get("serviceAccount")
        .and_then(|item| self::name(&item, Name::Subdomain))
        .unwrap_or_else(|| SERVICE_ACCOUNT.to_owned());
    let permits = permits(&spec);
    let mut plugins = spec
        .get("plugins")
        .map(|item| plugins::plugins(&item, notes.file(), caps, spec.has("serviceAccount")))
        .unwrap_or_default();
    let declared: Vec<&str> = spec.get("plugins").map(|item| item.keys()).unwrap_or_default();
    let phases = steps::phases(&spec, &declared);
    unused(&spec, &declared, &phases);
    let cleanup = cleanup(&spec);
    let grace = spec.get("grace").and_then(|item| item.duration()).unwrap_or(GRACE);
    let choices = [
        ("NotAvailable", NotApplicable::NotAvailable),
        ("Available", NotApplicable::Available),
    ];
    let not_applicable = spec
        .get("notApplicable")
        .and_then(|item| item.choice(&choices))
        .unwrap_or_default();
    if let Some(config) = phases.declarative {
        // Fuel bounds expressions and templates. Documents cannot set the time that they may take, so a host that is
        // short of it must not fail them.
        let limits = Limits {
            deadline: caps.deadline,
            ..Limits::default()
        };
        let embedded = Plugin {
            source: Source::Embedded,
            pull_secrets: Vec::new(),
            config,
            limits,
            grants: Grants::default(),
        };
        plugins.insert(DECLARATIVE.to_owned(), embedded);
    }
    let adapter = Adapter {
        name: name?,
        subjects,
        events,
        depends_on,
        namespace: namespace?,
        service_account,
        permits,
        plugins,
        phases: phases.steps,
        resources: phases.resources,
        cleanup,
        grace,
        not_applicable,
    };
    Some((adapter, phases.moved))
}

/// Subscriptions of its own, by source. The words are those of the host's configuration.
fn events(spec: &Mapping<'_>) -> BTreeMap<String, Subscription> {
    const WORDS: [(&str, [&str; 2]); 3] = [
        ("rabbitmq", ["topic", "subscription"]),
        ("pubsub", ["topic", "subscription"]),
        ("nats", ["stream", "consumer"]),
    ];
    let mut events = BTreeMap::new();
    let Some(item) = spec.get("events") else { return events };
    let Some(sources) = item.mapping(&WORDS.map(|(source, _)| source)) else {
        return events;
    };
    for (source, words) in WORDS {
        let Some(item) = sources.get(source) else { continue };
        let Some(mapping) = item.mapping(&words) else { continue };
        let [topic, subscription] = words.map(|word| mapping.get(word).and_then(|item| item.text()).map(str::to_owned));
        if topic.is_none() && subscription.is_none() {
            let hint = format!("write `{}`, `{}` or both", words[0], words[1]);
            item.wrong(Check::SubscriptionGiven, "names no subscription", Some(hint));
        }
        events.insert(source.to_owned(), Subscription { topic, subscription });
    }
    events
}

fn subjects(spec: &Mapping<'_>) -> Vec<String> {
    let Some(item) = spec.require("subjects") else {
        return Vec::new();
    };
    let Some(items) = item.list() else { return Vec::new() };
    if items.is_empty() {
        item.wrong(
            Check::SubjectsGiven,
            "names no kind",
            Some("write `[Cluster]`, `[NodePool]` or both".to_owned()),
        );
    }
    let mut subjects: Vec<String> = Vec::new();
    for item in items {
        let Some(kind) = name(&item, Name::Pascal) else {
            continue;
        };
        if subjects.contains(&kind) {
            item.wrong(Check::SubjectOnce, format!("`{kind}` is named twice"), None);
        }
        subjects.push(kind);
    }
    subjects
}

fn dependencies(spec: &Mapping<'_>) -> Vec<Dependency> {
    let mut dependencies: Vec<Dependency> = Vec::new();
    for item in spec.get("dependsOn").and_then(|item| item.list()).unwrap_or_default() {
        let Some(mapping) = item.mapping(&["adapter", "of"]) else {
            continue;
        };
        let of = mapping
            .get("of")
            .map(|item| item.choice(&[("subject", Of::Subject), ("owner", Of::Owner)]));
        let Some(adapter) = mapping.require("adapter").and_then(|item| name(&item, Name::Label)) else {
            continue;
        };
        let dependency = Dependency {
            adapter,
            of: of.flatten().unwrap_or_default(),
        };
        if dependencies.contains(&dependency) {
            item.wrong(
                Check::DependencyOnce,
                format!("`{}` is named twice", dependency.adapter),
                None,
            );
        }
        dependencies.push(dependency);
    }
    dependencies
}

/// What may be created. Without a list: anything namespaced, in the adapter's namespace.
fn permits(spec: &Mapping<'_>) -> Vec<Permit> {
    let Some(item) = spec.get("permits") else {
        return vec![Permit {
            api_version: "*".to_owned(),
            kind: "*".to_owned(),
            namespace: None,
            name: None,
        }];
    };
    let Some(items) = item.list() else { return Vec::new() };
    if items.is_empty() {
        item.wrong(
            Check::PermitsGiven,
            "permits nothing",
            Some("leave `permits` out for namespaced kinds in the adapter's namespace, or list kinds".to_owned()),
        );
    }
    items.iter().filter_map(permit).collect()
}

fn permit(item: &Item<'_>) -> Option<Permit> {
    let mapping = item.mapping(&["apiVersion", "kind", "namespace", "name"])?;
    let placeholders = [".subject.id", ".subject.kind", ".owner.id"];
    // A namespace of each subject's own is what many adapters create their objects in.
    let in_namespaces = [".subject.id", ".owner.id"];
    let namespace = mapping
        .get("namespace")
        .and_then(|item| pattern(&item, &in_namespaces, namespace_pattern));
    let object = mapping
        .get("name")
        .and_then(|item| pattern(&item, &placeholders, object_name));
    let api_version = mapping.require("apiVersion").and_then(|item| api_version(&item));
    let kind = mapping
        .require("kind")
        .and_then(|item| name_or_any(&item, Name::Pascal));
    let permit = Permit {
        api_version: api_version?,
        kind: kind?,
        namespace,
        name: object,
    };
    // Of other kinds only the API server knows whether they have a namespace.
    let cluster_scoped = [
        "Namespace",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "PersistentVolume",
    ];
    if permit.name.is_none() && !mapping.has("name") && cluster_scoped.contains(&permit.kind.as_str()) {
        item.wrong(
            Check::PermitNamed,
            format!("`{}` is cluster-scoped: `name` is needed", permit.kind),
            Some("name it with a placeholder: `name: \"lz-{{ .subject.id }}\"`".to_owned()),
        );
    }
    Some(permit)
}

fn cleanup(spec: &Mapping<'_>) -> Option<Cleanup> {
    let mapping = spec.get("cleanup")?.mapping(&["when", "after"])?;
    if let Some(item) = mapping.require("when") {
        item.choice(&[("Succeeded", ())]);
    }
    let after = match mapping.get("after") {
        Some(item) => item.duration()?,
        None => Duration::ZERO,
    };
    Some(Cleanup { after })
}

/// A plugin that no phase asks is a mistake: its step was forgotten or misspelt.
fn unused(spec: &Mapping<'_>, declared: &[&str], phases: &steps::Phases) {
    let Some(plugins) = spec.get("plugins") else { return };
    let asked = |plugin: &str| phases.steps.values().flatten().any(|step| step.plugin == plugin);
    for (key, item) in plugins.named_known() {
        if declared.contains(&key) && key != DECLARATIVE && !asked(key) {
            item.wrong(
                Check::PluginAsked,
                "no phase asks this plugin",
                Some(format!("add `{{plugin: {key}}}` to a phase, or remove it")),
            );
        }
    }
}
