//! What an error of the API server means.
//!
//! Kubernetes tells most causes apart only in words, so the words are matched here, in one
//! table, and nowhere else.

use std::time::Duration;

use berth_engine::{
    contract::Reference,
    effect::{ClusterCause, ClusterFault},
};
use serde_json::Value;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Refusal {
    /// The API server answered with an error.
    Status(Box<Status>),
    /// There was no answer. Says why, with the cause's causes.
    Lost(String),
    /// The answer has more bytes than this.
    TooLarge(usize),
}

/// An error as the API server words it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Status {
    /// The HTTP status.
    pub(super) code: u16,
    /// `reason` of the status document, such as `AlreadyExists`; may be empty.
    pub(super) reason: String,
    /// Its message.
    pub(super) message: String,
    /// Its `details`; may be null.
    pub(super) details: Value,
    /// How long it asks to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    /// The HTTP status, if there was an answer.
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.code),
            Self::Lost(_) | Self::TooLarge(_) => None,
        }
    }

    /// Whether the same call may succeed in a moment.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Lost(_) => true,
            Self::TooLarge(_) => false,
            Self::Status(status) => cause(status) == ClusterCause::Unreachable,
        }
    }

    /// The fault that `object` has because of this.
    pub(super) fn about(self, object: &Reference) -> ClusterFault {
        self.named(&object.name, &object.to_string())
    }

    /// The fault of a call about objects of one kind.
    pub(super) fn about_kind(self, kind: &str) -> ClusterFault {
        self.named(kind, kind)
    }

    /// `mark` is what a message that names the thing contains.
    fn named(self, mark: &str, title: &str) -> ClusterFault {
        match self {
            Self::Lost(message) => ClusterFault {
                cause: ClusterCause::Unreachable,
                message: format!("Kubernetes API unreachable: {message}"),
                retry_after: None,
            },
            Self::TooLarge(limit) => ClusterFault {
                cause: ClusterCause::TooLarge,
                message: format!("{title}: what was found has more than {limit} bytes"),
                retry_after: None,
            },
            Self::Status(status) => {
                let cause = cause(&status);
                let message = match &cause {
                    ClusterCause::Unreachable => {
                        format!(
                            "Kubernetes API unreachable: it answers {} {}",
                            status.code, status.message
                        )
                    }
                    _ if status.message.contains(mark) => status.message,
                    _ => format!("{title}: {}", status.message),
                };
                ClusterFault {
                    cause,
                    message,
                    retry_after: status.retry_after,
                }
            }
        }
    }
}

/// Which kind of trouble a status is.
pub(super) fn cause(status: &Status) -> ClusterCause {
    let message = status.message.as_str();
    let says = |words: &str| message.contains(words);
    // Webhooks and policies choose their own status codes, so their words come first.
    if says("failed calling webhook") || says("failed to call webhook") || says("failed calling admission webhook") {
        return ClusterCause::WebhookUnavailable;
    }
    if says("conversion webhook for ") {
        return ClusterCause::ConversionUnavailable;
    }
    if (says("admission webhook ") && says("denied the request"))
        || (says("ValidatingAdmissionPolicy ") && says("denied request"))
        || says("violates PodSecurity")
    {
        return ClusterCause::Admission;
    }
    // The API server says so with 500, as if it were its own failure.
    if says("failed to create typed patch object") {
        return ClusterCause::Invalid;
    }
    match status.code {
        400 | 413 => ClusterCause::Invalid,
        401 => ClusterCause::Forbidden,
        403 => forbidden(status),
        404 => not_found(status),
        409 => match field_manager(status) {
            Some(manager) => ClusterCause::FieldConflict { manager },
            None => ClusterCause::Stale,
        },
        // What was asked for is gone: a continued list, a watch.
        410 => ClusterCause::Stale,
        422 if IMMUTABLE.iter().any(|words| says(words)) => ClusterCause::Immutable,
        422 => ClusterCause::Invalid,
        429 => ClusterCause::Throttled,
        408 | 500..=599 => ClusterCause::Unreachable,
        _ => ClusterCause::Other,
    }
}

/// How validation says that a field cannot be changed.
const IMMUTABLE: &[&str] = &[
    "field is immutable",
    "is immutable",
    "may not be changed",
    "may not change",
    "cannot be changed",
    "Forbidden: updates to ",
    "Forbidden: pod updates may not ",
];

/// How LimitRange says that something is outside of its range.
const LIMIT_RANGE: &[&str] = &[
    "maximum cpu usage per",
    "minimum cpu usage per",
    "maximum memory usage per",
    "minimum memory usage per",
    "maximum storage usage per",
    "minimum storage usage per",
    "maximum ephemeral-storage usage per",
    "minimum ephemeral-storage usage per",
    "limit to request ratio per",
];

fn forbidden(status: &Status) -> ClusterCause {
    let says = |words: &str| status.message.contains(words);
    if says("because it is being terminated") {
        ClusterCause::NamespaceTerminating {
            namespace: between(&status.message, "in namespace ", " because").unwrap_or_default(),
        }
    } else if says("exceeded quota") || says("failed quota") {
        ClusterCause::Quota
    } else if LIMIT_RANGE.iter().any(|words| says(words)) {
        ClusterCause::LimitRange
    } else if says("User \"") && (says(" cannot ") || says("attempting to grant RBAC permissions")) {
        ClusterCause::Forbidden
    } else if status.message.is_empty() || says("is forbidden: not yet ready") {
        // Without words it comes from a proxy in between.
        ClusterCause::Forbidden
    } else {
        // Whatever else says 403 is an admission plugin of the API server.
        ClusterCause::Admission
    }
}

fn not_found(status: &Status) -> ClusterCause {
    if status.details["kind"] == "namespaces" {
        return ClusterCause::NamespaceMissing {
            namespace: status.details["name"].as_str().unwrap_or_default().to_owned(),
        };
    }
    // A missing object is named; a missing kind is not.
    match status.details["name"].as_str() {
        Some(name) if !name.is_empty() && status.message.ends_with("not found") => ClusterCause::Stale,
        Some(_) | None => ClusterCause::UnknownKind,
    }
}

fn field_manager(status: &Status) -> Option<String> {
    status.details["causes"]
        .as_array()?
        .iter()
        .find(|cause| cause["reason"] == "FieldManagerConflict")
        .map(|cause| between(cause["message"].as_str().unwrap_or_default(), "\"", "\"").unwrap_or_default())
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    let (found, _) = rest.split_once(after)?;
    Some(found.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(code: u16, message: &str, details: Value) -> Status {
        Status {
            code,
            message: message.to_owned(),
            details,
            ..Status::default()
        }
    }

    #[test]
    fn every_known_message_has_its_cause() {
        let table = [
            (
                status(
                    403,
                    r#"jobs.batch "j" is forbidden: exceeded quota: q, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited: count/jobs.batch=1"#,
                    json!({"name": "j", "kind": "jobs"}),
                ),
                ClusterCause::Quota,
            ),
            (
                status(
                    403,
                    r#"pods "p" is forbidden: failed quota: q: must specify limits.cpu for: main"#,
                    Value::Null,
                ),
                ClusterCause::Quota,
            ),
            (
                status(
                    403,
                    r#"pods "p" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]"#,
                    Value::Null,
                ),
                ClusterCause::LimitRange,
            ),
            (
                status(
                    403,
                    r#"pods "p" is forbidden: cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000"#,
                    Value::Null,
                ),
                ClusterCause::LimitRange,
            ),
            (
                status(
                    403,
                    r#"jobs.batch "j" is forbidden: User "system:serviceaccount:a:b" cannot patch resource "jobs" in API group "batch" in the namespace "a""#,
                    Value::Null,
                ),
                ClusterCause::Forbidden,
            ),
            (
                status(
                    403,
                    r#"serviceaccounts "b" is forbidden: User "berth" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "a""#,
                    Value::Null,
                ),
                ClusterCause::Forbidden,
            ),
            (
                status(
                    403,
                    r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "x" (groups=["y"]) is attempting to grant RBAC permissions not currently held: User "x" attempting to grant RBAC permissions"#,
                    Value::Null,
                ),
                ClusterCause::Forbidden,
            ),
            (status(401, "Unauthorized", Value::Null), ClusterCause::Forbidden),
            (
                status(
                    403,
                    r#"configmaps "c" is forbidden: unable to create new content in namespace lz because it is being terminated"#,
                    Value::Null,
                ),
                ClusterCause::NamespaceTerminating {
                    namespace: "lz".to_owned(),
                },
            ),
            (
                status(
                    403,
                    r#"admission webhook "deny.example.com" denied the request: no"#,
                    Value::Null,
                ),
                ClusterCause::Admission,
            ),
            (
                status(
                    400,
                    r#"admission webhook "deny.example.com" denied the request: no"#,
                    Value::Null,
                ),
                ClusterCause::Admission,
            ),
            (
                status(
                    422,
                    r#"jobs.batch "j" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#,
                    Value::Null,
                ),
                ClusterCause::Admission,
            ),
            (
                status(
                    403,
                    r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true"#,
                    Value::Null,
                ),
                ClusterCause::Admission,
            ),
            (
                status(
                    403,
                    r#"pods "p" is forbidden: error looking up service account a/b: serviceaccount "b" not found"#,
                    Value::Null,
                ),
                ClusterCause::Admission,
            ),
            (
                status(
                    500,
                    r#"Internal error occurred: failed calling webhook "w": failed to call webhook: Post "https://w.svc": dial tcp: connection refused"#,
                    Value::Null,
                ),
                ClusterCause::WebhookUnavailable,
            ),
            (
                status(
                    500,
                    r#"conversion webhook for example.com/v1beta1, Kind=Widget failed: Post "https://w.svc": dial tcp: connection refused"#,
                    Value::Null,
                ),
                ClusterCause::ConversionUnavailable,
            ),
            (
                status(
                    404,
                    r#"namespaces "lz" not found"#,
                    json!({"name": "lz", "kind": "namespaces"}),
                ),
                ClusterCause::NamespaceMissing {
                    namespace: "lz".to_owned(),
                },
            ),
            (
                status(
                    404,
                    r#"jobs.batch "j" not found"#,
                    json!({"name": "j", "group": "batch", "kind": "jobs"}),
                ),
                ClusterCause::Stale,
            ),
            (
                status(404, "the server could not find the requested resource", json!({})),
                ClusterCause::UnknownKind,
            ),
            (
                status(404, "404 page not found", Value::Null),
                ClusterCause::UnknownKind,
            ),
            (
                status(
                    409,
                    r#"Apply failed with 1 conflict: conflict with "kubectl-edit" using apps/v1: .spec.replicas"#,
                    json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl-edit\" using apps/v1", "field": ".spec.replicas"}]}),
                ),
                ClusterCause::FieldConflict {
                    manager: "kubectl-edit".to_owned(),
                },
            ),
            (
                status(
                    409,
                    r#"Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#,
                    json!({"name": "a", "kind": "configmaps"}),
                ),
                ClusterCause::Stale,
            ),
            (
                status(
                    409,
                    r#"Operation cannot be fulfilled on configmaps "b": uid mismatch: the provided object specified uid u-1, and no existing object was found"#,
                    json!({"name": "b", "kind": "configmaps"}),
                ),
                ClusterCause::Stale,
            ),
            (
                status(409, r#"configmaps "a" already exists"#, Value::Null),
                ClusterCause::Stale,
            ),
            (
                status(
                    422,
                    r#"Job.batch "j" is invalid: spec.template: Invalid value: {}: field is immutable"#,
                    Value::Null,
                ),
                ClusterCause::Immutable,
            ),
            (
                status(
                    422,
                    r#"StatefulSet.apps "s" is invalid: spec: Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden"#,
                    Value::Null,
                ),
                ClusterCause::Immutable,
            ),
            (
                status(
                    422,
                    r#"Job.batch "j" is invalid: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#,
                    Value::Null,
                ),
                ClusterCause::Invalid,
            ),
            (
                status(
                    400,
                    "failed to create typed patch object: .spec.nope: field not declared in schema",
                    Value::Null,
                ),
                ClusterCause::Invalid,
            ),
            (
                status(
                    500,
                    "failed to create typed patch object (lz/s; /v1, Kind=Secret): .stringData.pin: expected string, got &value.valueUnstructured{Value:1234}",
                    Value::Null,
                ),
                ClusterCause::Invalid,
            ),
            (status(429, "too many requests", Value::Null), ClusterCause::Throttled),
            (
                status(503, "apiserver is shutting down", Value::Null),
                ClusterCause::Unreachable,
            ),
            (
                status(
                    504,
                    "Timeout: request did not complete within the allotted timeout",
                    Value::Null,
                ),
                ClusterCause::Unreachable,
            ),
            (
                status(
                    500,
                    "Internal error occurred: etcdserver: request timed out",
                    Value::Null,
                ),
                ClusterCause::Unreachable,
            ),
            (
                status(
                    405,
                    "the server does not allow this method on the requested resource",
                    Value::Null,
                ),
                ClusterCause::Other,
            ),
        ];
        for (status, expected) in table {
            assert_eq!(cause(&status), expected, "{}", status.message);
        }
    }

    #[test]
    fn a_message_names_the_object_once() {
        let object = Reference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: Some("lz".to_owned()),
            name: "settings".to_owned(),
        };
        let unnamed = Refusal::Status(Box::new(status(422, "field is immutable", Value::Null)));
        let named = Refusal::Status(Box::new(status(
            409,
            r#"configmaps "settings" already exists"#,
            Value::Null,
        )));
        assert_eq!(
            unnamed.about(&object).message,
            "ConfigMap lz/settings: field is immutable"
        );
        assert_eq!(named.about(&object).message, r#"configmaps "settings" already exists"#);
        assert_eq!(
            Refusal::Lost("connection refused".to_owned()).about(&object).message,
            "Kubernetes API unreachable: connection refused"
        );
    }
}
