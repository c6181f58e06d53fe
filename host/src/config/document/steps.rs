//! The phases of a document: which plugins are asked, and what expressions and templates
//! the embedded one is given.

use std::collections::{BTreeMap, HashSet};

use berth_engine::{
    adapter::{DECLARATIVE, During, OnUpdate, ResourceSettings, Step},
    contract::Phase,
};
use serde_json::{Map, Value, json};

use super::names::{Name, name, name_or_template};
use crate::config::{
    check::Check,
    reader::{Item, Mapping},
    suggest::nearest,
    yaml::Content,
};

const PRECONDITION: &[&str] = &["name", "expression", "otherwise", "message", "recheckAfter", "plugin"];
const RESOURCE: &[&str] = &[
    "name", "manifest", "onUpdate", "force", "recreate", "after", "when", "during", "plugin",
];
const POSTCONDITION: &[&str] = &["name", "expression", "message", "failed", "plugin"];
const STATUS: &[&str] = &["conditions", "data", "plugin"];

const DURING: &[(&str, During)] = &[
    ("Life", During::Life),
    ("Deletion", During::Deletion),
    ("Both", During::Both),
];

/// What the phases of a document come to.
#[derive(Debug, Default)]
pub(super) struct Phases {
    pub(super) steps: BTreeMap<Phase, Vec<Step>>,
    pub(super) resources: BTreeMap<String, ResourceSettings>,
    /// The configuration of the embedded plugin; none if no step needs it.
    pub(super) declarative: Option<Value>,
    /// Where a list item of that configuration stands in the document.
    pub(super) moved: Vec<(String, String)>,
}

/// Reads the phases of `spec`. `plugins` are the names that steps may use.
pub(super) fn phases(spec: &Mapping<'_>, plugins: &[&str]) -> Phases {
    let mut reading = Reading {
        plugins,
        phases: Phases::default(),
        config: Map::new(),
    };
    for phase in Phase::ALL {
        reading.phases.steps.insert(phase, Vec::new());
    }
    let lists: [(Phase, ReadStep); 3] = [
        (Phase::Preconditions, precondition),
        (Phase::Resources, resource),
        (Phase::Postconditions, postcondition),
    ];
    for (phase, read) in lists {
        if let Some(item) = spec.get(phase.name()) {
            reading.list(phase, &item, read);
        }
    }
    if let Some(item) = spec.get("status") {
        reading.status(&item);
    }
    reading.check_after(spec);
    if !reading.config.is_empty() {
        reading.phases.declarative = Some(Value::Object(reading.config));
    }
    reading.phases
}

type ReadStep = fn(&mut Phases, &Mapping<'_>) -> Option<Value>;

struct Reading<'p> {
    plugins: &'p [&'p str],
    phases: Phases,
    config: Map<String, Value>,
}

impl Reading<'_> {
    fn list(&mut self, phase: Phase, item: &Item<'_>, read: ReadStep) {
        let known = match phase {
            Phase::Preconditions => PRECONDITION,
            Phase::Resources => RESOURCE,
            Phase::Postconditions => POSTCONDITION,
            Phase::Status => STATUS,
        };
        let mut names = HashSet::new();
        let mut declared = Vec::new();
        let mut steps = Vec::new();
        for item in item.list().unwrap_or_default() {
            let Some(step) = item.mapping(known) else { continue };
            if let Some(item) = step.get("name")
                && let Some(name) = name(&item, Name::Step)
                && !names.insert(name.clone())
            {
                item.wrong(Check::StepOnce, format!("two steps are named `{name}`"), None);
            }
            if phase == Phase::Resources && !step.has("plugin") {
                self.refuse_plugins_name(&step);
            }
            if let Some(plugin) = step.get("plugin") {
                steps.extend(self.plugin_step(phase, &step, &plugin));
            } else if let Some(value) = read(&mut self.phases, &step) {
                self.phases
                    .moved
                    .push((format!("{}[{}]", phase.name(), declared.len()), item.path.clone()));
                declared.push(value);
            }
        }
        if !declared.is_empty() {
            steps.insert(
                0,
                Step {
                    plugin: DECLARATIVE.to_owned(),
                    during: during_of_declarative(phase),
                },
            );
            self.config.insert(phase.name().to_owned(), Value::Array(declared));
        }
        self.phases.steps.insert(phase, steps);
    }

    /// The settings of a plugin's objects are kept under the plugin's name.
    fn refuse_plugins_name(&self, step: &Mapping<'_>) {
        if let Some(item) = step.get("name")
            && let Content::Text(name) = &item.node.content
            && self.plugins.contains(&name.as_str())
        {
            item.wrong(
                Check::ResourceNotPlugin,
                format!("`{name}` is the name of a plugin"),
                Some("choose another name".to_owned()),
            );
        }
    }

    fn plugin_step(&mut self, phase: Phase, step: &Mapping<'_>, plugin: &Item<'_>) -> Option<Step> {
        let allowed: &[&str] = match phase {
            Phase::Resources => &["plugin", "name", "during", "onUpdate", "force"],
            Phase::Preconditions | Phase::Postconditions => &["plugin", "name"],
            Phase::Status => &[],
        };
        for (key, item) in step.item.named_known() {
            if !allowed.contains(&key) {
                item.wrong(
                    Check::StepEither,
                    format!("`{key}` cannot be given together with `plugin`"),
                    Some("a step is either a plugin or written here".to_owned()),
                );
            }
        }
        let during = step
            .get("during")
            .and_then(|item| item.choice(DURING))
            .unwrap_or_default();
        let settings = ResourceSettings {
            during,
            ..settings(step)
        };
        let plugin = self.known_plugin(plugin)?;
        if settings.force || settings.on_update != OnUpdate::default() {
            self.phases.resources.insert(plugin.clone(), settings);
        }
        Some(Step { plugin, during })
    }

    fn known_plugin(&self, item: &Item<'_>) -> Option<String> {
        let text = item.text()?;
        if self.plugins.contains(&text) {
            return Some(text.to_owned());
        }
        let hint = match nearest(text, self.plugins.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "declare it under `spec.plugins`".to_owned(),
        };
        item.wrong(Check::PluginKnown, format!("there is no plugin `{text}`"), Some(hint));
        None
    }

    fn status(&mut self, item: &Item<'_>) {
        let Some(mapping) = item.mapping(STATUS) else { return };
        let mut status = Map::new();
        let mut types = HashSet::new();
        let mut conditions = Vec::new();
        for item in mapping
            .get("conditions")
            .and_then(|item| item.list())
            .unwrap_or_default()
        {
            if let Some(value) = condition(&item, &mut types) {
                self.phases
                    .moved
                    .push((format!("status.conditions[{}]", conditions.len()), item.path.clone()));
                conditions.push(value);
            }
        }
        if !conditions.is_empty() {
            status.insert("conditions".to_owned(), Value::Array(conditions));
        }
        if let Some(item) = mapping.get("data")
            && item.named().is_some()
        {
            status.insert("data".to_owned(), item.json());
        }
        let mut steps = Vec::new();
        if !status.is_empty() {
            self.phases.moved.push(("status".to_owned(), item.path.clone()));
            self.config.insert("status".to_owned(), Value::Object(status));
            steps.push(Step {
                plugin: DECLARATIVE.to_owned(),
                during: During::default(),
            });
        }
        if let Some(plugin) = mapping.get("plugin").and_then(|item| self.known_plugin(&item)) {
            steps.push(Step {
                plugin,
                during: During::default(),
            });
        }
        self.phases.steps.insert(Phase::Status, steps);
    }

    /// `after` must name resources, and may not run in a circle. Plugins name theirs only
    /// when they are asked.
    fn check_after(&self, spec: &Mapping<'_>) {
        let Some(items) = spec
            .get("resources")
            .filter(|item| matches!(item.node.content, Content::List(_)))
        else {
            return;
        };
        let items = items.list().unwrap_or_default();
        let name_of = |item: &Item<'_>| Some(item.node.get("name")?.to_json().as_str()?.to_owned());
        let names: Vec<String> = items.iter().filter_map(name_of).collect();
        let has_plugin = items.iter().any(|item| item.node.get("plugin").is_some());
        let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for item in &items {
            let (Some(name), Some(after)) = (name_of(item), item.node.get("after")) else {
                continue;
            };
            let Content::List(after) = &after.content else { continue };
            for (index, node) in after.iter().enumerate() {
                let Content::Text(wanted) = &node.content else { continue };
                edges.entry(name.clone()).or_default().push(wanted.clone());
                if !has_plugin && !names.contains(wanted) {
                    let hint =
                        nearest(wanted, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                    item.at(node, &format!("after[{index}]")).wrong(
                        Check::ResourceKnown,
                        format!("there is no resource `{wanted}`"),
                        hint,
                    );
                }
            }
        }
        if let Some(circle) = super::between::circle(&edges) {
            let first = items.iter().find(|item| name_of(item).as_ref() == circle.first());
            if let Some(item) = first {
                item.wrong(
                    Check::ResourceOrder,
                    format!("resources wait for each other: {}", circle.join(" -> ")),
                    None,
                );
            }
        }
    }
}

fn during_of_declarative(phase: Phase) -> During {
    match phase {
        // It knows of each resource when it is wanted.
        Phase::Resources => During::Both,
        Phase::Preconditions | Phase::Postconditions | Phase::Status => During::default(),
    }
}

fn put(object: &mut Map<String, Value>, mapping: &Mapping<'_>, key: &str) {
    if let Some(text) = mapping.get(key).and_then(|item| item.text()) {
        object.insert(key.to_owned(), json!(text));
    }
}

/// A step's name and expression, which it must have.
fn expression_step(step: &Mapping<'_>) -> Option<Map<String, Value>> {
    let name = step.require("name");
    let expression = if step.has("expression") {
        step.get("expression")
    } else {
        step.item
            .wrong(Check::StepExpression, "needs `expression` or `plugin`", None);
        None
    };
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name?.text()?));
    object.insert("expression".to_owned(), json!(expression?.text()?));
    Some(object)
}

fn precondition(_: &mut Phases, step: &Mapping<'_>) -> Option<Value> {
    let otherwise = step
        .get("otherwise")
        .and_then(|item| item.choice(&[("Wait", "Wait"), ("NotApplicable", "NotApplicable")]));
    let recheck = step.get("recheckAfter").and_then(|item| {
        let duration = item.duration()?;
        let milliseconds = u32::try_from(duration.as_millis()).ok();
        if milliseconds.is_none() {
            item.wrong(Check::RecheckLength, "is more than 49 days", None);
        }
        milliseconds
    });
    let mut object = expression_step(step)?;
    if let Some(otherwise) = otherwise {
        object.insert("otherwise".to_owned(), json!(otherwise));
    }
    put(&mut object, step, "message");
    if let Some(recheck) = recheck {
        object.insert("recheckAfterMs".to_owned(), json!(recheck));
    }
    Some(Value::Object(object))
}

fn settings(step: &Mapping<'_>) -> ResourceSettings {
    let choices = [
        ("Replace", OnUpdate::Replace),
        ("WaitForCompletion", OnUpdate::WaitForCompletion),
    ];
    ResourceSettings {
        on_update: step
            .get("onUpdate")
            .and_then(|item| item.choice(&choices))
            .unwrap_or_default(),
        force: step.get("force").and_then(|item| item.boolean()).unwrap_or(false),
        during: step
            .get("during")
            .and_then(|item| item.choice(DURING))
            .unwrap_or_default(),
    }
}

fn resource(phases: &mut Phases, step: &Mapping<'_>) -> Option<Value> {
    let settings = settings(step);
    let recreate = step.get("recreate").and_then(|item| item.boolean());
    let after = step.get("after").and_then(|item| item.texts());
    let name = step.require("name").and_then(|item| item.text());
    if !step.has("manifest") {
        step.item
            .wrong(Check::StepManifest, "needs `manifest` or `plugin`", None);
    }
    let manifest = step.get("manifest").and_then(|item| manifest(&item));
    let name = name?;
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name));
    object.insert("manifest".to_owned(), manifest?);
    put(&mut object, step, "when");
    if let Some(recreate) = recreate {
        object.insert("recreate".to_owned(), json!(recreate));
    }
    if let Some(after) = after {
        object.insert(
            "after".to_owned(),
            after.into_iter().map(|(text, _)| json!(text)).collect(),
        );
    }
    if step.has("during") {
        let word = DURING
            .iter()
            .find(|(_, during)| *during == settings.during)
            .map(|(word, _)| *word);
        object.insert("during".to_owned(), json!(word));
    }
    phases.resources.insert(name.to_owned(), settings);
    Some(Value::Object(object))
}

/// A manifest's frame is checked here, because a template cannot supply it.
fn manifest(item: &Item<'_>) -> Option<Value> {
    if matches!(item.node.content, Content::Text(_)) {
        // One template that gives the whole manifest: what it gives is checked when it is known.
        return item.text().map(|text| json!(text));
    }
    let keys = item.named()?;
    let text_of = |key: &str| {
        keys.iter()
            .find(|(name, _)| *name == key)
            .and_then(|(_, item)| item.text())
    };
    for key in ["apiVersion", "kind", "metadata"] {
        if !keys.iter().any(|(name, _)| *name == key) {
            item.wrong(Check::ManifestFrame, format!("`{key}` is missing"), None);
        }
    }
    text_of("apiVersion");
    text_of("kind");
    if let Some((_, metadata)) = keys.iter().find(|(name, _)| *name == "metadata")
        && let Some(inner) = metadata.named()
    {
        match inner.iter().find(|(name, _)| *name == "name") {
            Some((_, item)) => {
                item.text();
            }
            None => metadata.wrong(
                Check::ManifestName,
                "`name` is missing",
                Some("generateName is not possible: objects must be found again".to_owned()),
            ),
        }
        for refused in ["ownerReferences", "finalizers", "generateName", "managedFields"] {
            if let Some((_, item)) = inner.iter().find(|(name, _)| *name == refused) {
                item.wrong(
                    Check::ManifestMetadata,
                    format!("`{refused}` may not be set"),
                    Some("berth tracks its objects by labels".to_owned()),
                );
            }
        }
    }
    if let Some((_, item)) = keys.iter().find(|(name, _)| *name == "status") {
        item.wrong(Check::ManifestStatus, "a manifest may not set `status`", None);
    }
    Some(item.json())
}

fn postcondition(_: &mut Phases, step: &Mapping<'_>) -> Option<Value> {
    let failed = step.get("failed").and_then(|item| {
        let mapping = item.mapping(&["expression", "reason", "message"])?;
        let expression = mapping.require("expression").and_then(|item| item.text());
        let reason = mapping.require("reason").and_then(|item| name(&item, Name::Pascal));
        let mut object = Map::new();
        put(&mut object, &mapping, "message");
        object.insert("expression".to_owned(), json!(expression?));
        object.insert("reason".to_owned(), json!(reason?));
        Some(Value::Object(object))
    });
    let mut object = expression_step(step)?;
    put(&mut object, step, "message");
    if let Some(failed) = failed {
        object.insert("failed".to_owned(), failed);
    }
    Some(Value::Object(object))
}

fn condition(item: &Item<'_>, types: &mut HashSet<String>) -> Option<Value> {
    let mapping = item.mapping(&["type", "expression", "reason", "message"])?;
    let expression = mapping.require("expression").and_then(|item| item.text());
    let mut object = Map::new();
    if let Some(reason) = mapping
        .get("reason")
        .and_then(|item| name_or_template(&item, Name::Pascal))
    {
        object.insert("reason".to_owned(), json!(reason));
    }
    put(&mut object, &mapping, "message");
    let item = mapping.require("type")?;
    let kind = name(&item, Name::Pascal)?;
    if kind == "Finalized" {
        item.wrong(
            Check::ConditionNotOurs,
            "`Finalized` is set by berth alone, when all objects are gone",
            None,
        );
    }
    if !types.insert(kind.clone()) {
        item.wrong(
            Check::ConditionOnce,
            format!("the condition `{kind}` is given twice"),
            None,
        );
    }
    object.insert("type".to_owned(), json!(kind));
    object.insert("expression".to_owned(), json!(expression?));
    Some(Value::Object(object))
}
