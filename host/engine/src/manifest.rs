//! What a manifest must look like before it is applied, and how we know our objects.
//!
//! # Guarantees
//! - Nothing that could hand control to somebody else passes: owner references,
//!   finalizers, generated names, a status.
//! - Only what the adapter's permits cover passes.
//! - The hash depends on the manifest as the adapter wrote it, not on what we add.

use serde_json::{Map, Value, json};

use crate::{
    adapter::{Adapter, DECLARATIVE, OnUpdate, Permit, ResourceSettings},
    contract::{Failure, Manifest, Phase, Reference},
    document::Document,
    effect::{Apply, Expect, KindScope, Observed},
    reason::Reason,
    subject::{Generation, OwnerRef, Subject, SubjectKey, SubjectRef},
};

/// Label: the adapter's name.
pub const LABEL_ADAPTER: &str = "berth.hyperfleet.io/adapter";
/// Label: the subject's kind.
pub const LABEL_SUBJECT_KIND: &str = "berth.hyperfleet.io/subject-kind";
/// Label: the subject's identifier.
pub const LABEL_SUBJECT_ID: &str = "berth.hyperfleet.io/subject-id";
/// Annotation: the subject's path in the HyperFleet API.
pub const ANNOTATION_HREF: &str = "berth.hyperfleet.io/href";
/// Annotation: the subject's owner as JSON (`{"kind","id","href"}`), if it has one.
pub const ANNOTATION_OWNER: &str = "berth.hyperfleet.io/owner";
/// Annotation: the subject's generation that the object was applied for.
pub const ANNOTATION_GENERATION: &str = "berth.hyperfleet.io/generation";
/// Annotation: the hash of the manifest that the object was applied from.
pub const ANNOTATION_HASH: &str = "berth.hyperfleet.io/manifest-hash";
/// Annotation: the object's name in the plan.
pub const ANNOTATION_NAME: &str = "berth.hyperfleet.io/name";
/// Annotation that a manifest may have: `"true"` for an object that outlives its subject.
pub const ANNOTATION_RETAIN: &str = "berth.hyperfleet.io/retain";

/// The kinds that are looked after where a document with resource plugins names none.
const DEFAULT_KINDS: [(&str, &str); 10] = [
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("v1", "PersistentVolumeClaim"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
];

/// A manifest that may be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Its name in the plan.
    pub name: String,
    /// Which object it makes.
    pub reference: Reference,
    /// The hash of what the adapter wrote.
    pub hash: String,
    /// What the adapter wrote.
    pub document: Document,
    /// Delete and create again when it changed.
    pub recreate: bool,
    /// Names that must be applied first.
    pub after: Vec<String>,
    /// Whether fields of other managers are taken over.
    pub force: bool,
    /// What is done with a running workload of an earlier generation.
    pub on_update: OnUpdate,
}

impl Checked {
    /// The write that makes or changes the object of an adapter for a subject: with our labels and annotations.
    #[must_use]
    pub fn apply(&self, adapter: &str, subject: &Subject, expect: Expect) -> Apply {
        Apply {
            reference: self.reference.clone(),
            document: dress(self, adapter, subject),
            field_manager: field_manager(adapter),
            force: self.force,
            expect,
        }
    }

    /// Whether the object runs once and ends, so that another generation needs another run.
    #[must_use]
    pub fn runs_once(&self) -> bool {
        runs_once(&self.reference)
    }
}

/// Whether objects of this kind run once and end.
#[must_use]
pub fn runs_once(reference: &Reference) -> bool {
    reference.kind == "Job" && reference.api_version.starts_with("batch/")
}

/// Whether objects of this kind keep pods running for ever.
#[must_use]
pub fn runs_for_ever(reference: &Reference) -> bool {
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"];
    reference.api_version.starts_with("apps/") && kinds.contains(&reference.kind.as_str())
}

/// The field manager of an adapter's writes.
#[must_use]
pub fn field_manager(adapter: &str) -> String {
    format!("berth/{adapter}")
}

/// Checks a manifest of `plugin` against the adapter's permits and adds what we know objects by.
///
/// # Errors
/// [`Reason::ManifestInvalid`] where the document cannot be applied by anybody,
/// [`Reason::ManifestNotPermitted`] where this adapter may not.
pub fn check(manifest: &Manifest, plugin: &str, adapter: &Adapter, subject: &Subject) -> Result<Checked, Failure> {
    let name = &manifest.name;
    let invalid = |problem: String| Failure {
        reason: Reason::ManifestInvalid.name().to_owned(),
        message: format!("manifest `{name}`: {problem}"),
    };
    let Value::Object(root) = manifest.document.outline() else {
        return Err(invalid("it is not an object".to_owned()));
    };
    if name.is_empty() {
        return Err(invalid("it has no name in the plan".to_owned()));
    }
    let text = |object: &Map<String, Value>, key: &str| match object.get(key) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(_) | None => None,
    };
    let api_version = text(root, "apiVersion").ok_or_else(|| invalid("`apiVersion` is missing".to_owned()))?;
    let kind = text(root, "kind").ok_or_else(|| invalid("`kind` is missing".to_owned()))?;
    let Some(Value::Object(metadata)) = root.get("metadata") else {
        return Err(invalid("`metadata` is missing".to_owned()));
    };
    if metadata.contains_key("generateName") {
        return Err(invalid(
            "`metadata.generateName` is refused: an object is found again by its name".to_owned(),
        ));
    }
    let object_name = text(metadata, "name").ok_or_else(|| invalid("`metadata.name` is missing".to_owned()))?;
    for key in [
        "ownerReferences",
        "finalizers",
        "managedFields",
        "uid",
        "resourceVersion",
        "selfLink",
    ] {
        if metadata.contains_key(key) {
            return Err(invalid(format!(
                "`metadata.{key}` is refused: berth tracks objects by label"
            )));
        }
    }
    if root.contains_key("status") {
        return Err(invalid("`status` is refused: it is Kubernetes' to write".to_owned()));
    }
    for (map, prefix) in [("labels", "label"), ("annotations", "annotation")] {
        if let Some(Value::Object(entries)) = metadata.get(map)
            && let Some(key) = entries
                .keys()
                .find(|key| key.starts_with("berth.hyperfleet.io/") && (prefix == "label" || *key != ANNOTATION_RETAIN))
        {
            return Err(invalid(format!("the {prefix} `{key}` is berth's own")));
        }
    }

    let namespace = match text(metadata, "namespace") {
        Some(namespace) => Some(namespace),
        None if is_cluster_scoped(&api_version, &kind) => None,
        None if is_named_custom(adapter, subject, &api_version, &kind, &object_name) => None,
        None => Some(adapter.namespace.clone()),
    };
    let reference = Reference {
        api_version,
        kind,
        namespace,
        name: object_name,
    };
    if !permitted(&reference, adapter, subject) {
        return Err(Failure {
            reason: Reason::ManifestNotPermitted.name().to_owned(),
            message: format!(
                "manifest `{name}`: `permits` of adapter `{}` do not cover {reference}",
                adapter.name
            ),
        });
    }

    let is_seen = |one: &KindScope| one.api_version == reference.api_version && one.kind == reference.kind;
    if !kinds(adapter).iter().any(is_seen) {
        return Err(Failure {
            reason: Reason::ManifestNotPermitted.name().to_owned(),
            message: format!(
                "manifest `{name}`: {reference} would not be found again; name its kind in `permits` of adapter `{}`",
                adapter.name
            ),
        });
    }

    let settings = settings(adapter, name, plugin);
    Ok(Checked {
        name: name.clone(),
        reference,
        hash: hash(&manifest.document),
        document: manifest.document.clone(),
        recreate: manifest.recreate,
        after: manifest.after.clone(),
        force: settings.force,
        on_update: settings.on_update,
    })
}

/// How a resource is treated: as the document says of it, else of the step of its plugin.
fn settings(adapter: &Adapter, name: &str, plugin: &str) -> ResourceSettings {
    adapter
        .resources
        .get(name)
        .or_else(|| adapter.resources.get(plugin))
        .cloned()
        .unwrap_or_default()
}

/// Kinds of the core API that have no namespace. Custom kinds are known to be cluster-scoped
/// by the permit that names them; the cluster room knows every kind for certain.
fn is_cluster_scoped(api_version: &str, kind: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    matches!(
        (group, kind),
        ("", "Namespace" | "Node" | "PersistentVolume")
            | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("storage.k8s.io", "StorageClass" | "CSIDriver" | "VolumeAttachment")
            | ("scheduling.k8s.io", "PriorityClass")
            | (
                "admissionregistration.k8s.io",
                "ValidatingWebhookConfiguration"
                    | "MutatingWebhookConfiguration"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
            )
    )
}

/// Whether a permit names this object of a custom kind and no namespace: then the kind is cluster-scoped.
fn is_named_custom(adapter: &Adapter, subject: &Subject, api_version: &str, kind: &str, name: &str) -> bool {
    is_custom(api_version)
        && adapter.permits.iter().any(|permit| {
            permit.namespace.is_none()
                && permit
                    .name
                    .as_deref()
                    .is_some_and(|pattern| fill(pattern, subject) == name)
                && matches_kind(permit, api_version, kind)
        })
}

/// Whether a group is not Kubernetes' own.
fn is_custom(api_version: &str) -> bool {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    group.contains('.') && !group.ends_with(".k8s.io")
}

fn matches_kind(permit: &Permit, api_version: &str, kind: &str) -> bool {
    (permit.api_version == "*" || permit.api_version == api_version) && (permit.kind == "*" || permit.kind == kind)
}

/// Whether the adapter may write this object.
#[must_use]
pub fn permitted(reference: &Reference, adapter: &Adapter, subject: &Subject) -> bool {
    adapter.permits.iter().any(|permit| {
        let kind = matches_kind(permit, &reference.api_version, &reference.kind);
        let namespace = match (&reference.namespace, permit.namespace.as_deref()) {
            (Some(namespace), None) => *namespace == adapter.namespace,
            (Some(_), Some("*")) => true,
            (Some(namespace), Some(pattern)) => *namespace == fill(pattern, subject),
            (None, _) => permit.name.is_some(),
        };
        let name = permit
            .name
            .as_deref()
            .is_none_or(|pattern| fill(pattern, subject) == reference.name);
        kind && namespace && name
    })
}

/// Replaces the placeholders that permits and grants may contain.
#[must_use]
pub fn fill(pattern: &str, subject: &Subject) -> String {
    let owner = subject.owner.as_ref();
    let mut filled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, tail)) = after.split_once("}}") else {
            break;
        };
        filled.push_str(before);
        match inside.trim() {
            ".subject.id" => filled.push_str(&subject.key.id),
            ".subject.kind" => filled.push_str(&subject.key.kind),
            ".subject.href" => filled.push_str(&subject.href),
            ".owner.id" => filled.push_str(owner.map_or("", |owner| owner.key.id.as_str())),
            unknown => {
                filled.push_str("{{");
                filled.push_str(unknown);
                filled.push_str("}}");
            }
        }
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

/// Hex of the first 16 bytes of SHA-256 over the canonical JSON of the document.
#[must_use]
pub fn hash(document: &Document) -> String {
    hex::encode(document.hash().get(..16).unwrap_or_default())
}

fn dress(checked: &Checked, adapter: &str, subject: &Subject) -> Value {
    let mut document = Value::clone(&checked.document);
    let labels = labels(adapter, &subject.key);
    let mut annotations = vec![
        (ANNOTATION_HREF, subject.href.clone()),
        (ANNOTATION_GENERATION, subject.generation.to_string()),
        (ANNOTATION_HASH, checked.hash.clone()),
        (ANNOTATION_NAME, checked.name.clone()),
    ];
    if let Some(owner) = &subject.owner {
        let owner = json!({ "kind": owner.key.kind, "id": owner.key.id, "href": owner.href });
        annotations.push((ANNOTATION_OWNER, owner.to_string()));
    }
    if let Some(metadata) = object_at(&mut document, &["metadata"])
        && let Some(namespace) = &checked.reference.namespace
    {
        metadata.insert("namespace".to_owned(), json!(namespace));
    }
    insert_texts(&mut document, &["metadata", "labels"], &labels);
    insert_texts(&mut document, &["metadata", "annotations"], &annotations);
    // Pods carry our labels too, so that one watch sees them.
    let template: Option<&[&str]> = match checked.reference.kind.as_str() {
        "Job" | "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" => {
            Some(&["spec", "template", "metadata", "labels"])
        }
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template", "metadata", "labels"]),
        _ => None,
    };
    if let Some(path) = template
        && let Some((parent, _)) = path.split_last_chunk::<2>()
        && object_at(&mut document, parent).is_some()
    {
        insert_texts(&mut document, path, &labels);
    }
    document
}

/// The labels by which an adapter's objects for a subject are found.
#[must_use]
pub fn labels(adapter: &str, subject: &SubjectKey) -> Vec<(&'static str, String)> {
    vec![
        (LABEL_ADAPTER, adapter.to_owned()),
        (LABEL_SUBJECT_KIND, subject.kind.clone()),
        (LABEL_SUBJECT_ID, subject.id.clone()),
    ]
}

fn object_at<'a>(document: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut at = document;
    for key in path {
        at = at.get_mut(*key)?;
    }
    at.as_object_mut()
}

fn insert_texts(document: &mut Value, path: &[&str], entries: &[(&'static str, String)]) {
    let mut at = document;
    for key in path {
        let Value::Object(map) = at else { return };
        let next = map.entry((*key).to_owned()).or_insert_with(|| json!({}));
        if next.is_null() {
            *next = json!({});
        }
        at = next;
    }
    if let Value::Object(map) = at {
        for (key, value) in entries {
            map.insert((*key).to_owned(), json!(value));
        }
    }
}

/// Whether the object outlives its subject, by its manifest's own annotation.
#[must_use]
pub fn is_retained(observed: &Observed) -> bool {
    observed.document.outline()["metadata"]["annotations"][ANNOTATION_RETAIN] == "true"
}

/// Reads an object of ours back; none where our labels or annotations are missing or broken.
#[must_use]
pub fn read(document: &Value) -> Option<(String, SubjectRef, String, Generation, String)> {
    let metadata = document.get("metadata")?;
    let label = |key: &str| metadata.get("labels")?.get(key)?.as_str().map(str::to_owned);
    let annotation = |key: &str| metadata.get("annotations")?.get(key)?.as_str().map(str::to_owned);
    let generation = annotation(ANNOTATION_GENERATION)?.parse().ok()?;
    let owner = annotation(ANNOTATION_OWNER)
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .and_then(|value| OwnerRef::from_document(&value));
    let subject = SubjectRef {
        key: SubjectKey {
            kind: label(LABEL_SUBJECT_KIND)?,
            id: label(LABEL_SUBJECT_ID)?,
        },
        href: annotation(ANNOTATION_HREF)?,
        generation,
        owner,
    };
    Some((
        label(LABEL_ADAPTER)?,
        subject,
        annotation(ANNOTATION_NAME).unwrap_or_default(),
        generation,
        annotation(ANNOTATION_HASH).unwrap_or_default(),
    ))
}

/// The kinds that an adapter may have created, so that its objects are found after a restart.
#[must_use]
pub fn kinds(adapter: &Adapter) -> Vec<KindScope> {
    let mut kinds = Vec::new();
    let mut add = |api_version: &str, kind: &str, namespace: Option<String>| {
        let scope = KindScope {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace,
        };
        if !kinds.contains(&scope) {
            kinds.push(scope);
        }
    };
    let own = || Some(adapter.namespace.clone());
    let has_plugins = adapter
        .steps(Phase::Resources)
        .iter()
        .any(|step| step.plugin != DECLARATIVE);
    for permit in &adapter.permits {
        let namespace = match permit.namespace.as_deref() {
            None if is_cluster_scoped(&permit.api_version, &permit.kind) => None,
            None if permit.name.is_some() && is_custom(&permit.api_version) => None,
            None => own(),
            Some(pattern) if pattern == "*" || pattern.contains("{{") => None,
            Some(namespace) => Some(namespace.to_owned()),
        };
        if permit.kind != "*" && permit.api_version != "*" {
            add(&permit.api_version, &permit.kind, namespace);
        } else {
            let group_matches = |api_version: &str| permit.api_version == "*" || permit.api_version == api_version;
            for (api_version, kind) in declared_kinds(adapter) {
                if group_matches(&api_version) && (permit.kind == "*" || permit.kind == kind) {
                    add(&api_version, &kind, namespace.clone());
                }
            }
            if has_plugins {
                for (api_version, kind) in DEFAULT_KINDS {
                    if group_matches(api_version) && (permit.kind == "*" || permit.kind == kind) {
                        add(api_version, kind, namespace.clone());
                    }
                }
            }
        }
    }
    kinds
}

/// Kinds that the document's own manifests spell out.
fn declared_kinds(adapter: &Adapter) -> Vec<(String, String)> {
    let resources = adapter
        .plugins
        .get(DECLARATIVE)
        .and_then(|plugin| plugin.config.get("resources"));
    let manifests = resources
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|one| one.get("manifest"));
    manifests
        .filter_map(|manifest| match manifest {
            Value::String(text) => {
                let line = |key: &str| {
                    text.lines().find_map(|line| line.strip_prefix(key)).map(|value| {
                        value
                            .trim()
                            .trim_matches(|quote| quote == '"' || quote == '\'')
                            .to_owned()
                    })
                };
                Some((line("apiVersion:")?, line("kind:")?))
            }
            other => Some((
                other.get("apiVersion")?.as_str()?.to_owned(),
                other.get("kind")?.as_str()?.to_owned(),
            )),
        })
        .filter(|(api_version, kind)| !is_cluster_scoped(api_version, kind))
        .collect()
}

/// Puts manifests into an order in which each comes after those it names.
///
/// # Errors
/// [`Reason::PlanInvalid`] for a name that appears twice, a name that is not in the plan and a ring.
pub fn order(manifests: Vec<Checked>, known: &[String]) -> Result<Vec<Checked>, Failure> {
    let plan_invalid = |message: String| Failure {
        reason: Reason::PlanInvalid.name().to_owned(),
        message,
    };
    for (index, manifest) in manifests.iter().enumerate() {
        if let Some(twin) = manifests
            .iter()
            .skip(index + 1)
            .find(|other| other.name == manifest.name)
        {
            return Err(plan_invalid(format!(
                "the plan has two manifests named `{}`",
                twin.name
            )));
        }
        if let Some(twin) = manifests
            .iter()
            .skip(index + 1)
            .find(|other| other.reference == manifest.reference)
        {
            let (first, second, object) = (&manifest.name, &twin.name, &twin.reference);
            return Err(plan_invalid(format!(
                "manifests `{first}` and `{second}` are both {object}"
            )));
        }
    }
    let names: Vec<String> = manifests.iter().map(|manifest| manifest.name.clone()).collect();
    if let Some((name, missing)) = manifests.iter().find_map(|manifest| {
        let missing = manifest
            .after
            .iter()
            .find(|after| !names.contains(after) && !known.contains(after))?;
        Some((&manifest.name, missing))
    }) {
        return Err(plan_invalid(format!(
            "manifest `{name}` comes after `{missing}`, which the plan does not have"
        )));
    }
    let mut waiting = manifests;
    let mut ordered: Vec<Checked> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ready = waiting.iter().position(|manifest| {
            manifest
                .after
                .iter()
                .all(|after| known.contains(after) || ordered.iter().any(|done| done.name == *after))
        });
        match ready {
            Some(index) => ordered.push(waiting.remove(index)),
            None => {
                let ring: Vec<_> = waiting.iter().map(|manifest| format!("`{}`", manifest.name)).collect();
                return Err(plan_invalid(format!(
                    "manifests {} come after each other in a ring",
                    ring.join(", ")
                )));
            }
        }
    }
    Ok(ordered)
}

/// Whether this is the object that the manifest makes.
#[must_use]
pub fn is_same(observed: &Observed, reference: &Reference) -> bool {
    let group = |api_version: &str| {
        api_version
            .split_once('/')
            .map_or(String::new(), |(group, _)| group.to_owned())
    };
    observed.reference.kind == reference.kind
        && observed.reference.name == reference.name
        && observed.reference.namespace == reference.namespace
        && group(&observed.reference.api_version) == group(&reference.api_version)
}
