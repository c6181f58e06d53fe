//! What goes when something else goes: dependents, namespaces, objects with finalizers.

use berth_engine::contract::Propagation;
use serde_json::{Value, json};

use super::{document, model::Model, store::Key};

/// Finalizer of an object whose dependents are deleted first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object whose dependents are let go first.
pub(super) const ORPHAN: &str = "orphan";

impl Model {
    /// The garbage collector's step for one object.
    pub(super) fn collect_garbage(&mut self, key: &Key) {
        let Some(document) = self.store.document(key).cloned() else {
            return;
        };
        if !document::is_deleting(&document) {
            self.follow_owners(key, &document);
            return;
        }
        let uid = document::uid(&document).to_owned();
        if document::has_finalizer(&document, ORPHAN) {
            let dependents: Vec<Key> = self.store.dependents(&uid).map(|(key, _)| key.clone()).collect();
            for dependent in dependents {
                self.store.change(&dependent, |document| disown(document, &uid));
            }
            self.store
                .change(key, |document| document::remove_finalizer(document, ORPHAN));
        }
        if document::has_finalizer(&document, FOREGROUND) {
            let dependents: Vec<(Key, bool)> = self
                .store
                .dependents(&uid)
                .map(|(key, stored)| {
                    (
                        key.clone(),
                        self.store.dependents(document::uid(&stored.document)).next().is_some(),
                    )
                })
                .collect();
            if dependents.is_empty() {
                self.store
                    .change(key, |document| document::remove_finalizer(document, FOREGROUND));
            }
            for (dependent, has_own) in dependents {
                let propagation = if has_own {
                    Propagation::Foreground
                } else {
                    Propagation::Background
                };
                self.begin_deletion(&dependent, propagation);
            }
        }
        // Pods are ended by their kubelet, namespaces when they are empty.
        if key.is("", "Pod") || key.is("", "Namespace") {
            return;
        }
        self.remove_if_free(key);
    }

    /// Removes an object whose deletion has begun once nothing holds it any more.
    pub(super) fn remove_if_free(&mut self, key: &Key) {
        let free = self.store.document(key).is_some_and(|document| {
            document::is_deleting(document) && document::items(document, &["metadata", "finalizers"]).is_empty()
        });
        if free {
            self.store.remove(key);
        }
    }

    fn follow_owners(&mut self, key: &Key, document: &Value) {
        let owners = document::items(document, &["metadata", "ownerReferences"]);
        let gone = |owner: &Value| owner["uid"].as_str().is_none_or(|uid| self.store.key_of(uid).is_none());
        if !owners.is_empty() && owners.iter().all(gone) {
            self.begin_deletion(key, Propagation::Background);
        }
    }

    /// The namespace controller's step: empties a namespace that is being deleted.
    pub(super) fn namespace(&mut self, key: &Key, document: &Value) {
        if !document::is_deleting(document) {
            return;
        }
        let content: Vec<Key> = self
            .store
            .all()
            .filter(|(other, _)| other.namespace == key.name)
            .map(|(other, _)| other.clone())
            .collect();
        if content.is_empty() {
            self.remove_if_free(key);
            return;
        }
        for other in content {
            self.begin_deletion(&other, Propagation::Background);
        }
    }
}

fn disown(document: &mut Value, uid: &str) {
    let mut owners = document::items(document, &["metadata", "ownerReferences"]).to_vec();
    owners.retain(|owner| owner["uid"] != uid);
    document::set(document, &["metadata", "ownerReferences"], json!(owners));
}
