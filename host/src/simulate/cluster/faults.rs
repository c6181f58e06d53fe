//! Refusals in the API server's words.

use std::time::Duration;

use berth_engine::effect::{ClusterCause, ClusterFault};

use super::{fields::Conflict, kinds::Kind};
use crate::world::FOUND_BYTES;

fn fault(cause: ClusterCause, message: String) -> ClusterFault {
    ClusterFault {
        cause,
        message,
        retry_after: None,
    }
}

pub(super) fn unreachable() -> ClusterFault {
    let message = "Kubernetes API unreachable: tcp connect error: Connection refused (os error 111)";
    fault(ClusterCause::Unreachable, message.to_owned())
}

pub(super) fn throttled(retry_after: Duration) -> ClusterFault {
    let message = "Too many requests, please try again later.".to_owned();
    ClusterFault {
        cause: ClusterCause::Throttled,
        message,
        retry_after: Some(retry_after),
    }
}

pub(super) fn unknown_kind(api_version: &str, kind: &str) -> ClusterFault {
    fault(
        ClusterCause::UnknownKind,
        format!("no matches for kind \"{kind}\" in version \"{api_version}\""),
    )
}

pub(super) fn forbidden(user: &str, verb: &str, kind: &Kind, namespace: &str, name: &str) -> ClusterFault {
    let (resource, group) = (kind.resource(), kind.group());
    let subject = if name.is_empty() {
        resource
    } else {
        format!("{resource} \"{name}\"")
    };
    let scope = if kind.namespaced && !namespace.is_empty() {
        format!("in the namespace \"{namespace}\"")
    } else {
        "at the cluster scope".to_owned()
    };
    let plural = &kind.plural;
    fault(
        ClusterCause::Forbidden,
        format!(
            "{subject} is forbidden: User \"{user}\" cannot {verb} resource \"{plural}\" in API group \"{group}\" {scope}"
        ),
    )
}

pub(super) fn stale(kind: &Kind, name: &str, why: &str) -> ClusterFault {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
    fault(ClusterCause::Stale, message)
}

pub(super) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

pub(super) fn namespace_missing(namespace: &str) -> ClusterFault {
    let message = format!("namespaces \"{namespace}\" not found");
    fault(
        ClusterCause::NamespaceMissing {
            namespace: namespace.to_owned(),
        },
        message,
    )
}

pub(super) fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> ClusterFault {
    fault(
        ClusterCause::NamespaceTerminating {
            namespace: namespace.to_owned(),
        },
        format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is being \
             terminated",
            kind.resource()
        ),
    )
}

pub(super) fn quota(kind: &Kind, name: &str, problem: &str) -> ClusterFault {
    fault(
        ClusterCause::Quota,
        format!("{} \"{name}\" is forbidden: {problem}", kind.resource()),
    )
}

pub(super) fn refused_pod(kind: &Kind, name: &str, problem: &str) -> ClusterFault {
    fault(
        ClusterCause::Admission,
        format!("{} \"{name}\" is forbidden: {problem}", kind.resource()),
    )
}

pub(super) fn admission(webhook: &str, message: &str) -> ClusterFault {
    fault(
        ClusterCause::Admission,
        format!("admission webhook \"{webhook}\" denied the request: {message}"),
    )
}

pub(super) fn webhook_down(webhook: &str) -> ClusterFault {
    fault(
        ClusterCause::WebhookUnavailable,
        format!(
            "Internal error occurred: failed calling webhook \"{webhook}\": failed to call webhook: Post \
             \"https://{webhook}:443/validate?timeout=10s\": context deadline exceeded"
        ),
    )
}

pub(super) fn immutable(kind: &Kind, name: &str, field: &str) -> ClusterFault {
    fault(
        ClusterCause::Immutable,
        format!(
            "{} \"{name}\" is invalid: {field}: Invalid value: field is immutable",
            kind.qualified()
        ),
    )
}

pub(super) fn invalid(kind: &Kind, name: &str, problem: &str) -> ClusterFault {
    fault(
        ClusterCause::Invalid,
        format!("{} \"{name}\" is invalid: {problem}", kind.qualified()),
    )
}

pub(super) fn too_much(kind: &str) -> ClusterFault {
    fault(
        ClusterCause::TooLarge,
        format!("{kind}: what was looked up has more than {} MiB", FOUND_BYTES >> 20),
    )
}

pub(super) fn exists(kind: &Kind, name: &str) -> ClusterFault {
    fault(
        ClusterCause::Stale,
        format!("{} \"{name}\" already exists", kind.resource()),
    )
}

pub(super) fn not_found(kind: &Kind, name: &str) -> ClusterFault {
    fault(ClusterCause::Stale, format!("{} \"{name}\" not found", kind.resource()))
}

pub(super) fn conflict(conflict: &Conflict, version: &str) -> ClusterFault {
    let count: usize = conflict.fields.values().map(Vec::len).sum();
    let parts = conflict.fields.iter().map(|(manager, fields)| match fields.as_slice() {
        [field] => format!("conflict with \"{manager}\" using {version}: {field}"),
        fields => {
            let fields: String = fields.iter().map(|field| format!("\n- {field}")).collect();
            format!("conflicts with \"{manager}\" using {version}:{fields}")
        }
    });
    let parts = parts.collect::<Vec<_>>().join("\n");
    let noun = if count == 1 { "conflict" } else { "conflicts" };
    let manager = conflict.fields.keys().next().cloned().unwrap_or_default();
    fault(
        ClusterCause::FieldConflict { manager },
        format!("Apply failed with {count} {noun}: {parts}"),
    )
}
