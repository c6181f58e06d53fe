//! The cluster as one value: objects, rules and what is due when.
//!
//! Controllers are level-triggered: whatever happens to an object makes it, its owners and its
//! dependents due; looking at an object makes one step and names the time of the next.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    access::{Access, Admission},
    clock::{later, written},
    document, faults,
    index::Entry,
    kinds::Kinds,
    kubelet::ImageBehaviour,
    notices::Notices,
    store::{Happened, Key, Store},
};

/// How fast the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long a controller takes to see a change; at least a millisecond.
    pub control: Duration,
    /// From a pod's scheduling until its containers run.
    pub start: Duration,
    /// How long a container runs that ends by itself, unless its image says otherwise.
    pub run: Duration,
    /// How long a running pod takes to stop when it is deleted.
    pub stop: Duration,
    /// The pause before an image is pulled again or a refused pod tried again, and the first one
    /// before a failed pod is replaced or a container restarted, which doubles each time, up to
    /// thirty-two times as long.
    pub retry: Duration,
}

impl Default for Pace {
    /// Fast containers on an unhurried Kubernetes: the pauses are the real ones.
    fn default() -> Self {
        Self {
            control: Duration::from_millis(10),
            start: Duration::from_millis(300),
            run: Duration::from_millis(700),
            stop: Duration::from_millis(300),
            retry: Duration::from_secs(10),
        }
    }
}

impl Pace {
    /// The pause after this many failures.
    pub(super) fn pause(&self, failures: i64) -> Duration {
        let doublings = u32::try_from(failures.clamp(1, 6) - 1).unwrap_or(0);
        self.retry.saturating_mul(1 << doublings)
    }
}

/// The cluster.
pub(super) struct Model {
    pub(super) now: Timestamp,
    pub(super) pace: Pace,
    pub(super) store: Store,
    pub(super) kinds: Kinds,
    pub(super) access: Access,
    pub(super) admission: Admission,
    pub(super) images: HashMap<String, ImageBehaviour>,
    pub(super) notices: Notices,
    /// How many calls are still answered with 429, and after which time to ask again.
    pub(super) throttled: Option<(u32, Duration)>,
    due: BTreeSet<(Timestamp, Key)>,
    due_of: BTreeMap<Key, Timestamp>,
}

impl Model {
    pub(super) fn new(now: Timestamp, pace: Pace) -> Self {
        Self {
            now,
            pace,
            store: Store::new(),
            kinds: Kinds::builtin(),
            access: Access::default(),
            admission: Admission::default(),
            images: HashMap::new(),
            notices: Notices::default(),
            throttled: None,
            due: BTreeSet::new(),
            due_of: BTreeMap::new(),
        }
    }

    /// The time as it stands in objects.
    pub(super) fn time(&self) -> String {
        written(self.now)
    }

    /// When something happens next by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Lets everything happen that is due by `target`.
    pub(super) fn run_until(&mut self, target: Timestamp) {
        self.settle();
        while let Some((due, key)) = self.due.first().cloned() {
            if due > target {
                break;
            }
            self.due.remove(&(due, key.clone()));
            self.due_of.remove(&key);
            self.now = self.now.max(due);
            self.look_at(&key);
            self.settle();
        }
        self.now = self.now.max(target);
    }

    /// Makes an object due after a pause, or earlier if it is due earlier already.
    pub(super) fn again(&mut self, key: &Key, pause: Duration) {
        let due = later(self.now, pause.max(Duration::from_millis(1)));
        self.again_at(key, due);
    }

    /// Makes an object due at a time that lies ahead, or earlier if it is due earlier already.
    pub(super) fn again_at(&mut self, key: &Key, due: Timestamp) {
        if let Some(earlier) = self.due_of.get(key) {
            if *earlier <= due {
                return;
            }
            self.due.remove(&(*earlier, key.clone()));
        }
        self.due_of.insert(key.clone(), due);
        self.due.insert((due, key.clone()));
    }

    /// Spreads what happened: who is told, who looks at it.
    pub(super) fn settle(&mut self) {
        let control = self.pace.control;
        for happened in std::mem::take(&mut self.store.news) {
            let (key, document) = match &happened {
                Happened::Written(key) => (key, self.store.document(key).cloned().unwrap_or_default()),
                Happened::Removed(key, document) => (key, (**document).clone()),
            };
            self.notices.tell(&self.store, key, &document);
            let mut touched = BTreeSet::new();
            for owner in document::items(&document, &["metadata", "ownerReferences"]) {
                touched.extend(owner["uid"].as_str().and_then(|uid| self.store.key_of(uid)).cloned());
            }
            match &happened {
                Happened::Written(_) => {
                    touched.insert(key.clone());
                    if document::is_deleting(&document) {
                        touched.extend(
                            self.store
                                .dependents(document::uid(&document))
                                .map(|(key, _)| key.clone()),
                        );
                    }
                }
                Happened::Removed(..) => {
                    touched.extend(
                        self.store
                            .dependents(document::uid(&document))
                            .map(|(key, _)| key.clone()),
                    );
                    touched.insert(Key::new("v1", "Namespace", "", &key.namespace));
                }
            }
            if key.is("", "Node") || (key.is("", "Pod") && document::text(&document, &["spec", "nodeName"]).is_some()) {
                let waiting = self.store.indexed(&Entry::OnNode(None));
                touched.extend(waiting.map(|(key, _)| key.clone()));
            }
            if key.is("apiextensions.k8s.io", "CustomResourceDefinition") {
                self.kinds.define(&document);
            }
            for key in touched {
                if self.store.get(&key).is_some() {
                    self.again(&key, control);
                }
            }
        }
    }

    /// One step of every controller that cares for this object.
    fn look_at(&mut self, key: &Key) {
        self.collect_garbage(key);
        let Some(document) = self.store.document(key).cloned() else {
            return;
        };
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "Namespace") => self.namespace(key, &document),
            ("", "Pod") => self.pod(key, &document),
            ("batch", "Job") => self.job(key, &document),
            ("apps", "Deployment") => self.deployment(key, &document),
            ("apps", "ReplicaSet") => self.replica_set(key, &document),
            (_, _) => {}
        }
    }

    /// Publishes an Event about an object; one that says the same counts up.
    pub(super) fn event(&mut self, about: &Key, kind: &str, reason: &str, message: &str) {
        let Some(object) = self.store.document(about).cloned() else {
            return;
        };
        let uid = document::uid(&object).to_owned();
        let now = self.time();
        let said = Entry::Said(uid.clone(), reason.to_owned(), message.to_owned());
        let same = self.store.indexed(&said).next();
        if let Some((key, _)) = same {
            let key = key.clone();
            self.store.change(&key, |event| {
                let count = document::number(event, &["count"]).unwrap_or(1);
                document::set(event, &["count"], json!(count + 1));
                document::set(event, &["lastTimestamp"], json!(now));
            });
            return;
        }
        let namespace = if about.namespace.is_empty() {
            "default"
        } else {
            &about.namespace
        };
        let name = format!("{}.{:016x}", about.name, self.store.next());
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "apiVersion": object["apiVersion"], "kind": object["kind"], "name": about.name,
                "namespace": about.namespace, "uid": uid,
                "resourceVersion": object["metadata"]["resourceVersion"],
            },
            "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "simulation"},
        });
        let key = Key::new("v1", "Event", namespace, &name);
        self.store.create(key, event, BTreeMap::new(), &now);
    }

    /// The pods of an object, newest first: its own and those of its replica sets.
    pub(super) fn pods_of(&self, document: &Value) -> Vec<(Key, Value)> {
        let mut pods = Vec::new();
        let mut owners = vec![document::uid(document).to_owned()];
        while let Some(owner) = owners.pop() {
            for (key, stored) in self.store.dependents(&owner) {
                if key.is("", "Pod") {
                    pods.push((key.clone(), stored.document.clone()));
                } else {
                    owners.push(document::uid(&stored.document).to_owned());
                }
            }
        }
        // Uids count up, and times are whole seconds only.
        pods.sort_by(|(_, one), (_, other)| document::uid(other).cmp(document::uid(one)));
        pods
    }

    /// The Events about any of these uids.
    pub(super) fn events_about(&self, uids: &[&str]) -> Vec<Value> {
        let events = uids
            .iter()
            .flat_map(|uid| self.store.indexed(&Entry::About((*uid).to_owned())));
        let events: BTreeMap<&Key, &Value> = events.map(|(key, stored)| (key, &stored.document)).collect();
        events.into_values().cloned().collect()
    }

    /// Refuses a call while the API does not answer, or answers too many.
    pub(super) fn answering(&mut self) -> Result<(), berth_engine::effect::ClusterFault> {
        if !self.notices.reachable() {
            return Err(faults::unreachable());
        }
        match &mut self.throttled {
            Some((calls, retry_after)) if *calls > 0 => {
                *calls -= 1;
                Err(faults::throttled(*retry_after))
            }
            Some(_) | None => Ok(()),
        }
    }
}
