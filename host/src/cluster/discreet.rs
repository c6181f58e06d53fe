//! Errors about Secrets, without what is secret.
//!
//! The API server says in its own words what is wrong with a manifest, and quotes values that it
//! does not take: `.stringData.pin: expected string, got &value.valueUnstructured{Value:1234}`.
//! Such words would end up in a status and in a log. Of a Secret only its fields are told.

use berth_engine::effect::{ClusterCause, ClusterFault};
use serde_json::Value;

/// How the API server begins when a manifest does not fit its schema.
const SCHEMA: &str = "typed patch object";

/// The fault of applying this manifest, as it may be told.
pub(super) fn told(fault: ClusterFault, manifest: &Value) -> ClusterFault {
    let is_secret = manifest["kind"] == "Secret" && manifest["apiVersion"] == "v1";
    if !is_secret || !may_quote(&fault) {
        return fault;
    }
    let fields = fields(manifest, &fault.message);
    let named = if fields.is_empty() {
        "this Secret".to_owned()
    } else {
        format!("{} of this Secret", fields.join(", "))
    };
    let text = |field: &str| manifest["metadata"][field].as_str().unwrap_or_default();
    let place = match text("namespace") {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    };
    ClusterFault {
        message: format!(
            "Secret {place}{}: the API server does not take {named}; its words are not repeated, for they may hold values",
            text("name")
        ),
        ..fault
    }
}

/// Whether it is about the manifest itself. Who may write, what is full or missing is told of by name.
fn may_quote(fault: &ClusterFault) -> bool {
    match &fault.cause {
        ClusterCause::Invalid | ClusterCause::Immutable | ClusterCause::Other => true,
        ClusterCause::Unreachable
        | ClusterCause::Throttled
        | ClusterCause::TooLarge
        | ClusterCause::Stale
        | ClusterCause::FieldConflict { .. }
        | ClusterCause::NamespaceMissing { .. }
        | ClusterCause::NamespaceTerminating { .. }
        | ClusterCause::Quota
        | ClusterCause::LimitRange
        | ClusterCause::Forbidden
        | ClusterCause::Admission
        | ClusterCause::WebhookUnavailable
        | ClusterCause::ConversionUnavailable
        | ClusterCause::UnknownKind => fault.message.contains(SCHEMA),
    }
}

/// The fields of the manifest that a message names. Only what the manifest has is looked for, so
/// that no part of a value is taken for a field.
fn fields(manifest: &Value, message: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (parent, value) in manifest.as_object().into_iter().flatten() {
        let inner = value.as_object().into_iter().flatten().map(|(key, _)| {
            let schema = format!(".{parent}.{key}");
            // Validation writes keys of maps otherwise than fields.
            let names = [
                format!("{schema}:"),
                format!("{parent}[{key}]:"),
                format!("{parent}.{key}:"),
            ];
            (schema, names.iter().any(|name| message.contains(name)))
        });
        let inner: Vec<String> = inner.filter_map(|(field, named)| named.then_some(field)).collect();
        let is_named = || {
            [format!(".{parent}:"), format!(" {parent}:")]
                .iter()
                .any(|name| message.contains(name))
        };
        if inner.is_empty() && is_named() {
            found.push(format!(".{parent}"));
        }
        found.extend(inner);
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "lz"},
            "type": "Opaque", "stringData": {"pin": 86_753_099, "user": "lz"}, "data": {"tls.key": {"deep": "86753099"}},
        })
    }

    fn fault(cause: ClusterCause, message: &str) -> ClusterFault {
        ClusterFault {
            cause,
            message: message.to_owned(),
            retry_after: None,
        }
    }

    #[test]
    fn values_of_a_secret_are_never_told_and_its_fields_are() {
        let schema = "failed to create typed patch object (lz/keys; /v1, Kind=Secret): ";
        let cases = [
            (
                ClusterCause::Invalid,
                format!("{schema}.stringData.pin: expected string, got &value.valueUnstructured{{Value:86753099}}"),
                ".stringData.pin",
            ),
            (
                ClusterCause::Unreachable,
                format!(
                    "{schema}errors:\n  .stringData.pin: expected string, got &value.valueUnstructured{{Value:86753099}}\n  \
                     .data.tls.key: expected string, got &value.valueUnstructured{{Value:map[string]interface {{}}{{\"deep\":\"86753099\"}}}}"
                ),
                ".data.tls.key, .stringData.pin",
            ),
            (
                ClusterCause::Immutable,
                r#"Secret "keys" is invalid: type: Invalid value: "86753099": field is immutable"#.to_owned(),
                ".type",
            ),
            (
                ClusterCause::Invalid,
                r#"Secret "keys" is invalid: data[tls.key]: Invalid value: "86753099": no"#.to_owned(),
                ".data.tls.key",
            ),
            (
                ClusterCause::Invalid,
                r#"Secret "keys" is invalid: metadata.name: Invalid value: "86753099": no"#.to_owned(),
                ".metadata.name",
            ),
        ];
        for (cause, message, fields) in cases {
            let told = told(fault(cause.clone(), &message), &secret());
            assert!(!told.message.contains("86753099"), "{}", told.message);
            let expected = format!("Secret lz/keys: the API server does not take {fields} of this Secret; ");
            assert!(told.message.starts_with(&expected), "{}", told.message);
            assert_eq!(told.cause, cause);
        }
        let unknown = told(fault(ClusterCause::Other, "what? 86753099"), &secret());
        assert!(
            unknown.message.contains("does not take this Secret"),
            "{}",
            unknown.message
        );
    }

    #[test]
    fn what_is_not_about_the_secret_itself_is_told_as_it_is() {
        let quota = fault(ClusterCause::Quota, r#"secrets "keys" is forbidden: exceeded quota: q"#);
        assert_eq!(told(quota.clone(), &secret()), quota);
        let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keys"}});
        let schema = fault(ClusterCause::Invalid, "typed patch object: .data.pin: got 1234");
        assert_eq!(told(schema.clone(), &other), schema);
    }
}
