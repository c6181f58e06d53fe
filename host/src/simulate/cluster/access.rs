//! Who may do what, and what the cluster lets in.
//!
//! Owns RBAC and admission: policies, webhooks, quotas, service accounts of pods. Whatever was
//! not granted is refused.

use std::{collections::BTreeMap, fmt, sync::Arc};

use berth_engine::effect::ClusterFault;
use serde_json::Value;

use super::{
    document, faults,
    kinds::{Kind, group},
    model::Model,
    store::Key,
};
use crate::world::Identity;

/// What a service account is granted, as in a rule of a Role or ClusterRole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// API groups; an empty text is the core group, `*` any.
    pub groups: Vec<String>,
    /// Resources by their plural, such as `jobs`; `*` for any.
    pub resources: Vec<String>,
    /// Verbs, such as `get` or `patch`; `*` for any.
    pub verbs: Vec<String>,
    /// The namespace; none for all, and for cluster-scoped kinds.
    pub namespace: Option<String>,
}

impl Rule {
    /// Everything with these resources of one group, in one namespace.
    #[must_use]
    pub fn all_of(group: &str, resources: &[&str], namespace: &str) -> Self {
        Self {
            groups: vec![group.to_owned()],
            resources: resources.iter().map(|&resource| resource.to_owned()).collect(),
            verbs: vec!["*".to_owned()],
            namespace: Some(namespace.to_owned()),
        }
    }

    /// The same rule in all namespaces and at the cluster scope.
    #[must_use]
    pub fn everywhere(self) -> Self {
        Self {
            namespace: None,
            ..self
        }
    }

    /// The same rule for these verbs only.
    #[must_use]
    pub fn only(self, verbs: &[&str]) -> Self {
        Self {
            verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
            ..self
        }
    }

    fn allows(&self, verb: &str, kind: &Kind, namespace: &str) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        has(&self.groups, kind.group())
            && has(&self.resources, &kind.plural)
            && has(&self.verbs, verb)
            && self
                .namespace
                .as_deref()
                .is_none_or(|own| kind.namespaced && own == namespace)
    }
}

/// Who may do what.
#[derive(Debug, Default)]
pub(super) struct Access {
    rules: BTreeMap<(String, String), Vec<Rule>>,
}

impl Access {
    pub(super) fn grant(&mut self, namespace: &str, service_account: &str, rules: Vec<Rule>) {
        self.rules
            .entry((namespace.to_owned(), service_account.to_owned()))
            .or_default()
            .extend(rules);
    }

    pub(super) fn revoke(&mut self, namespace: &str, service_account: &str) {
        self.rules.remove(&(namespace.to_owned(), service_account.to_owned()));
    }

    /// Whether the caller may do this; an empty `name` is for lists.
    pub(super) fn check(
        &self,
        identity: &Identity,
        verb: &str,
        kind: &Kind,
        namespace: &str,
        name: &str,
    ) -> Result<(), ClusterFault> {
        let account = (identity.namespace.clone(), identity.service_account.clone());
        let rules = self.rules.get(&account);
        if rules.is_some_and(|rules| rules.iter().any(|rule| rule.allows(verb, kind, namespace))) {
            return Ok(());
        }
        let user = format!("system:serviceaccount:{}:{}", account.0, account.1);
        Err(faults::forbidden(&user, verb, kind, namespace, name))
    }
}

/// Looks at an object that is about to be written and refuses it with a message.
pub(super) type Policy = Arc<dyn Fn(&Value) -> Result<(), String> + Send + Sync>;

/// What a webhook does.
#[derive(Clone)]
pub(super) enum Webhook {
    /// It judges.
    Judges(Policy),
    /// It does not answer, and whatever it would judge is refused.
    Down,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Judges(_) => "Judges",
            Self::Down => "Down",
        })
    }
}

/// What the cluster lets in.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) webhooks: BTreeMap<String, Webhook>,
}

impl Admission {
    pub(super) fn check(&self, object: &Value) -> Result<(), ClusterFault> {
        for (name, webhook) in &self.webhooks {
            match webhook {
                Webhook::Judges(policy) => policy(object).map_err(|message| faults::admission(name, &message))?,
                Webhook::Down => return Err(faults::webhook_down(name)),
            }
        }
        Ok(())
    }
}

impl Model {
    /// Whether something can be created in this namespace.
    pub(super) fn check_namespace(&self, kind: &Kind, namespace: &str, name: &str) -> Result<(), ClusterFault> {
        if !kind.namespaced {
            return Ok(());
        }
        match self.store.document(&Key::new("v1", "Namespace", "", namespace)) {
            None => Err(faults::namespace_missing(namespace)),
            Some(document) if document::is_deleting(document) => {
                Err(faults::namespace_terminating(kind, name, namespace))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether the quotas of the namespace have room for one more object.
    pub(super) fn check_quota(&self, kind: &Kind, key: &Key, document: &Value) -> Result<(), ClusterFault> {
        let asked = usage(document, &kind.resource());
        for (quota, stored) in self.store.of_kind("", "ResourceQuota", Some(&key.namespace)) {
            let hard = document::at(&stored.document, &["spec", "hard"]).and_then(Value::as_object);
            let (mut requested, mut used, mut limited, mut unsaid) = (vec![], vec![], vec![], vec![]);
            for (resource, limit) in hard.into_iter().flatten() {
                let Some(limit) = document::quantity(limit) else {
                    continue;
                };
                let wanted = match asked.get(canonical(resource)) {
                    Some(Some(wanted)) => *wanted,
                    Some(None) => {
                        unsaid.push(resource.clone());
                        continue;
                    }
                    None => continue,
                };
                let in_use = self.in_use(&key.namespace, canonical(resource));
                if in_use + wanted > limit {
                    let line = |amount| format!("{resource}={}", document::written_quantity(amount));
                    requested.push(line(wanted));
                    used.push(line(in_use));
                    limited.push(line(limit));
                }
            }
            if !unsaid.is_empty() {
                let problem = format!("failed quota: {}: must specify {}", quota.name, unsaid.join(","));
                return Err(faults::quota(kind, &key.name, &problem));
            }
            if !requested.is_empty() {
                let problem = format!(
                    "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                    quota.name,
                    requested.join(","),
                    used.join(","),
                    limited.join(",")
                );
                return Err(faults::quota(kind, &key.name, &problem));
            }
        }
        Ok(())
    }

    fn in_use(&self, namespace: &str, resource: &str) -> i128 {
        let here = self.store.all().filter(|(key, _)| key.namespace == namespace);
        here.filter_map(|(_, stored)| {
            let api_version = stored.document["apiVersion"].as_str()?;
            let kind = self.kinds.get(api_version, stored.document["kind"].as_str()?)?;
            usage(&stored.document, &kind.resource())
                .get(resource)
                .copied()
                .flatten()
        })
        .sum()
    }

    /// Whether a pod may be created: its service account must exist.
    pub(super) fn check_service_account(&self, kind: &Kind, key: &Key, pod: &Value) -> Result<(), ClusterFault> {
        let account = document::text(pod, &["spec", "serviceAccountName"]).unwrap_or("default");
        if self
            .store
            .get(&Key::new("v1", "ServiceAccount", &key.namespace, account))
            .is_some()
        {
            return Ok(());
        }
        let problem = format!(
            "error looking up service account {}/{account}: serviceaccount \"{account}\" not found",
            key.namespace
        );
        Err(faults::refused_pod(kind, &key.name, &problem))
    }
}

/// The one name of a resource that has two in quotas.
fn canonical(resource: &str) -> &str {
    match resource {
        "cpu" => "requests.cpu",
        "memory" => "requests.memory",
        other => other,
    }
}

/// What an object takes of a quota, in thousandths; none where it must say but does not.
fn usage(document: &Value, resource: &str) -> BTreeMap<String, Option<i128>> {
    let mut usage = BTreeMap::from([(format!("count/{resource}"), Some(1000))]);
    let core = group(document["apiVersion"].as_str().unwrap_or_default()).is_empty();
    let ended = matches!(
        document::text(document, &["status", "phase"]),
        Some("Succeeded" | "Failed")
    );
    if core && resource == "pods" {
        if ended {
            return usage;
        }
        for (name, list) in [("requests", "requests"), ("limits", "limits")] {
            for amount in ["cpu", "memory"] {
                usage.insert(format!("{name}.{amount}"), pod_total(document, list, amount));
            }
        }
    }
    if core {
        usage.insert(resource.to_owned(), Some(1000));
    }
    usage
}

/// What the containers of a pod ask for together; none if one does not say.
pub(super) fn pod_total(pod: &Value, list: &str, amount: &str) -> Option<i128> {
    let containers = document::items(pod, &["spec", "containers"]);
    // A limit stands for a request that is not given.
    let asked = |container: &Value| {
        let own = document::at(container, &["resources", list, amount]);
        own.or_else(|| document::at(container, &["resources", "limits", amount]))
            .and_then(document::quantity)
    };
    containers.iter().map(asked).sum()
}
