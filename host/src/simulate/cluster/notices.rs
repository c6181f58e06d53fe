//! What berth is told: changes of its objects and of namespaces it waits for.

use std::collections::{BTreeSet, VecDeque};

use berth_engine::{
    contract::Reference,
    effect::KindScope,
    manifest::{
        ANNOTATION_GENERATION, ANNOTATION_HREF, ANNOTATION_OWNER, LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND,
    },
    subject::{OwnerRef, SubjectKey, SubjectRef},
};
use serde_json::Value;

use super::{
    document,
    store::{Key, Store},
};
use crate::world::Change;

/// A change that is among so many that were told last is not told again. Telling it would be right too.
const LATELY: usize = 32;

/// Whom berth waits for, and what it has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Notices {
    watched: BTreeSet<KindScope>,
    awaited: Vec<(String, String, SubjectRef)>,
    pub(super) untold: VecDeque<Change>,
    /// What happened while nobody could be told, such as removals, which nothing else would tell.
    missed: VecDeque<Change>,
    away: bool,
}

impl Notices {
    pub(super) fn reachable(&self) -> bool {
        !self.away
    }

    /// Nobody is told anything any more.
    pub(super) fn go_away(&mut self) {
        self.away = true;
        self.missed.append(&mut self.untold);
    }

    /// Everything that exists is told again, and what vanished meanwhile.
    pub(super) fn come_back(&mut self, store: &Store) {
        self.away = false;
        self.untold.append(&mut self.missed);
        self.tell_all(store, &self.watched.iter().cloned().collect::<Vec<_>>());
        for (namespace, adapter, subject) in std::mem::take(&mut self.awaited) {
            self.wait_for(store, &namespace, &adapter, &subject);
        }
    }

    /// Watches more, and tells what exists of it.
    pub(super) fn watch(&mut self, store: &Store, kinds: &[KindScope]) {
        self.watched.extend(kinds.iter().cloned());
        self.tell_all(store, kinds);
    }

    fn tell_all(&mut self, store: &Store, scopes: &[KindScope]) {
        for (key, stored) in store.all() {
            if scopes.iter().any(|scope| covers(scope, key)) {
                self.push(change(&stored.document));
            }
        }
    }

    /// Tells when a namespace appears.
    pub(super) fn wait_for(&mut self, store: &Store, namespace: &str, adapter: &str, subject: &SubjectRef) {
        let key = Key::new("v1", "Namespace", "", namespace);
        let there = store
            .document(&key)
            .is_some_and(|document| !document::is_deleting(document));
        if there && !self.away {
            self.push(Some(appeared(namespace, adapter, subject)));
        } else {
            let wait = (namespace.to_owned(), adapter.to_owned(), subject.clone());
            if !self.awaited.contains(&wait) {
                self.awaited.push(wait);
            }
        }
    }

    /// An adapter awaits no namespace any more for a subject, or for any.
    pub(super) fn forget(&mut self, adapter: &str, subject: Option<&SubjectKey>) {
        self.awaited
            .retain(|(_, by, of)| by != adapter || subject.is_some_and(|key| *key != of.key));
    }

    /// Tells about an object that changed, and about those that a change of it says something of:
    /// its owners, and what an Event is about.
    pub(super) fn tell(&mut self, store: &Store, key: &Key, document: &Value) {
        if key.is("", "Namespace") && !self.away {
            let awaited = std::mem::take(&mut self.awaited);
            for (namespace, adapter, subject) in awaited {
                self.wait_for(store, &namespace, &adapter, &subject);
            }
        }
        if self.watched.iter().any(|scope| covers(scope, key)) {
            self.push(change(document));
        }
        let above: Vec<&str> = if key.is("", "Event") {
            document::text(document, &["involvedObject", "uid"])
                .into_iter()
                .collect()
        } else if key.is("", "Pod") || key.is("apps", "ReplicaSet") {
            let owners = document::items(document, &["metadata", "ownerReferences"]);
            owners.iter().filter_map(|owner| owner["uid"].as_str()).collect()
        } else {
            Vec::new()
        };
        for uid in above {
            if let Some((key, document)) = store.key_of(uid).and_then(|key| Some((key, store.document(key)?))) {
                self.tell(store, key, document);
            }
        }
    }

    fn push(&mut self, change: Option<Change>) {
        let queue = if self.away { &mut self.missed } else { &mut self.untold };
        let is_repeated = |change: &Change| queue.iter().rev().take(LATELY).any(|told| told == change);
        if let Some(change) = change.filter(|change| !is_repeated(change)) {
            queue.push_back(change);
        }
    }
}

fn covers(scope: &KindScope, key: &Key) -> bool {
    super::kinds::group(&scope.api_version) == key.group
        && scope.kind == key.kind
        && scope
            .namespace
            .as_ref()
            .is_none_or(|namespace| *namespace == key.namespace)
}

fn appeared(namespace: &str, adapter: &str, subject: &SubjectRef) -> Change {
    Change {
        adapter: adapter.to_owned(),
        subject: subject.clone(),
        object: Reference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: namespace.to_owned(),
        },
    }
}

/// The change of an object that carries berth's labels.
fn change(object: &Value) -> Option<Change> {
    if document::is_controlled(object) {
        return None;
    }
    let label = |name: &str| document::text(object, &["metadata", "labels", name]).map(str::to_owned);
    let annotation = |name: &str| document::text(object, &["metadata", "annotations", name]);
    let owner = annotation(ANNOTATION_OWNER).and_then(|owner| serde_json::from_str::<Value>(owner).ok());
    Some(Change {
        adapter: label(LABEL_ADAPTER)?,
        subject: SubjectRef {
            key: SubjectKey {
                kind: label(LABEL_SUBJECT_KIND)?,
                id: label(LABEL_SUBJECT_ID)?,
            },
            href: annotation(ANNOTATION_HREF).unwrap_or_default().to_owned(),
            generation: annotation(ANNOTATION_GENERATION)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            owner: owner.as_ref().and_then(OwnerRef::from_document),
        },
        object: reference(object),
    })
}

/// Which object a document is.
pub(super) fn reference(object: &Value) -> Reference {
    let text = |path: &[&str]| document::text(object, path).map(str::to_owned);
    Reference {
        api_version: text(&["apiVersion"]).unwrap_or_default(),
        kind: text(&["kind"]).unwrap_or_default(),
        namespace: text(&["metadata", "namespace"]),
        name: text(&["metadata", "name"]).unwrap_or_default(),
    }
}
