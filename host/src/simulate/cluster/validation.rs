//! What the API server fills in, and what it does not accept.

use berth_engine::effect::ClusterFault;
use serde_json::{Value, json};

use super::{document, faults, kinds::Kind};

/// Fills in what a new object does not say.
pub(super) fn fill_in(kind: &Kind, object: &mut Value) {
    let defaults: &[(&[&str], Value)] = match (kind.group(), kind.kind.as_str()) {
        ("batch", "Job") => &[
            (&["spec", "backoffLimit"], json!(6)),
            (&["spec", "completionMode"], json!("NonIndexed")),
            (&["spec", "completions"], json!(1)),
            (&["spec", "parallelism"], json!(1)),
            (&["spec", "suspend"], json!(false)),
            (&["status"], json!({})),
        ],
        ("apps", "Deployment") => &[
            (&["spec", "replicas"], json!(1)),
            (&["spec", "progressDeadlineSeconds"], json!(600)),
            (&["spec", "template", "spec", "restartPolicy"], json!("Always")),
            (&["status"], json!({})),
        ],
        ("", "Pod") => &[
            (&["spec", "restartPolicy"], json!("Always")),
            (&["spec", "serviceAccountName"], json!("default")),
            (&["status", "phase"], json!("Pending")),
        ],
        ("", "Namespace") => &[
            (&["spec", "finalizers"], json!(["kubernetes"])),
            (&["status", "phase"], json!("Active")),
        ],
        ("", "Secret") => &[(&["type"], json!("Opaque"))],
        (_, _) => &[],
    };
    for (path, value) in defaults {
        document::default(object, path, value.clone());
    }
}

/// Gives a Job's pods the labels by which they are found; they contain the Job's uid.
pub(super) fn label_template(job: &mut Value) {
    let (name, uid) = (document::name(job).to_owned(), document::uid(job).to_owned());
    for prefix in ["", "batch.kubernetes.io/"] {
        let label = |name: &str| format!("{prefix}{name}");
        document::set(
            job,
            &["spec", "template", "metadata", "labels", &label("job-name")],
            json!(name),
        );
        document::set(
            job,
            &["spec", "template", "metadata", "labels", &label("controller-uid")],
            json!(uid),
        );
    }
    document::default(
        job,
        &["spec", "selector", "matchLabels"],
        json!({"batch.kubernetes.io/controller-uid": uid}),
    );
}

/// Refuses what no Kubernetes accepts.
pub(super) fn check(kind: &Kind, object: &Value) -> Result<(), ClusterFault> {
    let name = document::name(object);
    let wrong = |problem: String| Err(faults::invalid(kind, name, &problem));
    if !is_name(name) {
        return wrong(format!(
            "metadata.name: Invalid value: \"{name}\": a lowercase RFC 1123 subdomain must consist of lower case \
             alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
        ));
    }
    let labels = document::at(object, &["metadata", "labels"]).and_then(Value::as_object);
    for (label, value) in labels.into_iter().flatten() {
        if !value.as_str().is_some_and(is_label_value) {
            return wrong(format!(
                "metadata.labels: Invalid value: {value}: not a valid value of label {label}"
            ));
        }
    }
    let template: &[&str] = match (kind.group(), kind.kind.as_str()) {
        ("batch", "Job") | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => {
            &["spec", "template", "spec"]
        }
        ("", "Pod") => &["spec"],
        (_, _) => return Ok(()),
    };
    let field = template.join(".");
    let spec = document::at(object, template).unwrap_or(&Value::Null);
    let containers = document::items(spec, &["containers"]);
    if containers.is_empty() {
        return wrong(format!("{field}.containers: Required value"));
    }
    for (at, container) in containers.iter().enumerate() {
        for required in ["name", "image"] {
            if document::text(container, &[required]).is_none_or(str::is_empty) {
                return wrong(format!("{field}.containers[{at}].{required}: Required value"));
            }
        }
    }
    let policy = document::text(spec, &["restartPolicy"]);
    match (kind.kind.as_str(), policy) {
        ("Job", None) => wrong(format!(
            "{field}.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""
        )),
        ("Job", Some("Always")) => wrong(format!(
            "{field}.restartPolicy: Unsupported value: \"Always\": supported values: \"OnFailure\", \"Never\""
        )),
        ("Deployment" | "ReplicaSet", Some("Never" | "OnFailure")) => wrong(format!(
            "{field}.restartPolicy: Unsupported value: \"{}\": supported values: \"Always\"",
            policy.unwrap_or_default()
        )),
        ("Deployment", _) => {
            let wanted = document::at(object, &["spec", "selector", "matchLabels"]).and_then(Value::as_object);
            let Some(wanted) = wanted else {
                return wrong("spec.selector: Required value".to_owned());
            };
            let labels = &object["spec"]["template"]["metadata"]["labels"];
            if wanted.iter().any(|(label, value)| labels.get(label) != Some(value)) {
                return wrong(format!(
                    "spec.template.metadata.labels: Invalid value: {labels}: `selector` does not match template `labels`"
                ));
            }
            Ok(())
        }
        (_, _) => Ok(()),
    }
}

/// Refuses changes of fields that cannot change.
pub(super) fn check_immutable(kind: &Kind, before: &Value, after: &Value) -> Result<(), ClusterFault> {
    let fields: &[&[&str]] = match (kind.group(), kind.kind.as_str()) {
        ("batch", "Job") => &[
            &["spec", "template"],
            &["spec", "selector"],
            &["spec", "completions"],
            &["spec", "completionMode"],
        ],
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => &[&["spec", "selector"]],
        ("", "Secret") => &[&["type"]],
        ("", "Pod") => &[
            &["spec", "containers"],
            &["spec", "restartPolicy"],
            &["spec", "serviceAccountName"],
        ],
        (_, _) => &[],
    };
    let frozen: &[&[&str]] = if before["immutable"] == true {
        &[&["data"], &["stringData"], &["immutable"]]
    } else {
        &[]
    };
    for field in fields.iter().chain(frozen) {
        if document::at(before, field) != document::at(after, field) {
            return Err(faults::immutable(kind, document::name(before), &field.join(".")));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit();
    // RBAC names may hold colons; no other kind here is harmed by allowing them.
    let inside = |character: char| allowed(character) || matches!(character, '-' | '.' | ':');
    name.len() <= 253 && name.starts_with(allowed) && name.ends_with(allowed) && name.chars().all(inside)
}

fn is_label_value(value: &str) -> bool {
    let edge = |character: char| character.is_ascii_alphanumeric();
    let inside = |character: char| edge(character) || matches!(character, '-' | '_' | '.');
    value.is_empty()
        || (value.len() <= 63 && value.starts_with(edge) && value.ends_with(edge) && value.chars().all(inside))
}
