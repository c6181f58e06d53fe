//! Which kinds the API server knows.

use serde_json::Value;

/// A kind that the API server knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Group and version, as in a manifest.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The name in paths and in RBAC rules, such as `jobs`.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether `status` is a resource of its own, that an apply of the object does not touch.
    pub status: bool,
    /// Whether it is defined by a CustomResourceDefinition; the lists of such objects are atomic.
    pub custom: bool,
}

impl Kind {
    /// A namespaced kind with a status, as a CustomResourceDefinition defines it. The plural is
    /// the kind in lower case with an `s`.
    #[must_use]
    pub fn custom(api_version: &str, kind: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced: true,
            status: true,
            custom: true,
        }
    }

    /// The API group; empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        group(&self.api_version)
    }

    /// `jobs.batch`, as messages and quotas name it.
    pub(super) fn resource(&self) -> String {
        match self.group() {
            "" => self.plural.clone(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// `Job.batch`, as messages about validity name it.
    pub(super) fn qualified(&self) -> String {
        match self.group() {
            "" => self.kind.clone(),
            group => format!("{}.{group}", self.kind),
        }
    }
}

/// The group in `apiVersion`.
pub(super) fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The kinds that are known.
#[derive(Debug)]
pub(super) struct Kinds(Vec<Kind>);

impl Kinds {
    /// Those of every Kubernetes.
    pub(super) fn builtin() -> Self {
        const NAMESPACED: [(&str, &str, &str); 22] = [
            ("v1", "Pod", "pods"),
            ("v1", "ConfigMap", "configmaps"),
            ("v1", "Secret", "secrets"),
            ("v1", "Service", "services"),
            ("v1", "ServiceAccount", "serviceaccounts"),
            ("v1", "Event", "events"),
            ("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
            ("v1", "ResourceQuota", "resourcequotas"),
            ("v1", "LimitRange", "limitranges"),
            ("v1", "Endpoints", "endpoints"),
            ("apps/v1", "Deployment", "deployments"),
            ("apps/v1", "ReplicaSet", "replicasets"),
            ("apps/v1", "StatefulSet", "statefulsets"),
            ("apps/v1", "DaemonSet", "daemonsets"),
            ("batch/v1", "Job", "jobs"),
            ("batch/v1", "CronJob", "cronjobs"),
            ("rbac.authorization.k8s.io/v1", "Role", "roles"),
            ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            ("networking.k8s.io/v1", "Ingress", "ingresses"),
            ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            ("coordination.k8s.io/v1", "Lease", "leases"),
        ];
        const CLUSTER_SCOPED: [(&str, &str, &str); 8] = [
            ("v1", "Namespace", "namespaces"),
            ("v1", "Node", "nodes"),
            ("v1", "PersistentVolume", "persistentvolumes"),
            ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
            (
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                "clusterrolebindings",
            ),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
            ),
            ("storage.k8s.io/v1", "StorageClass", "storageclasses"),
            ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses"),
        ];
        const WITH_STATUS: [&str; 12] = [
            "Pod",
            "Service",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "Deployment",
            "ReplicaSet",
            "StatefulSet",
            "DaemonSet",
            "Job",
            "CronJob",
            "Namespace",
            "Node",
        ];
        let kind = |namespaced: bool| {
            move |&(api_version, kind, plural): &(&str, &str, &str)| Kind {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                plural: plural.to_owned(),
                namespaced,
                status: WITH_STATUS.contains(&kind),
                custom: false,
            }
        };
        Self(
            NAMESPACED
                .iter()
                .map(kind(true))
                .chain(CLUSTER_SCOPED.iter().map(kind(false)))
                .collect(),
        )
    }

    /// Adds a kind, or replaces it.
    pub(super) fn register(&mut self, kind: Kind) {
        self.0
            .retain(|known| (&known.api_version, &known.kind) != (&kind.api_version, &kind.kind));
        self.0.push(kind);
    }

    /// Adds what a CustomResourceDefinition defines.
    pub(super) fn define(&mut self, definition: &Value) {
        let spec = &definition["spec"];
        let (Some(group), Some(kind), Some(plural)) = (
            spec["group"].as_str(),
            spec["names"]["kind"].as_str(),
            spec["names"]["plural"].as_str(),
        ) else {
            return;
        };
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"].as_bool() == Some(false) {
                continue;
            }
            if let Some(name) = version["name"].as_str() {
                self.register(Kind {
                    api_version: format!("{group}/{name}"),
                    kind: kind.to_owned(),
                    plural: plural.to_owned(),
                    namespaced: spec["scope"].as_str() != Some("Cluster"),
                    status: version.pointer("/subresources/status").is_some(),
                    custom: true,
                });
            }
        }
    }

    /// The kind, if it is known.
    pub(super) fn get(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0
            .iter()
            .find(|known| known.api_version == api_version && known.kind == kind)
    }
}
