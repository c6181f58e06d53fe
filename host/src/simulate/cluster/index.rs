//! Where objects are found without looking at all of them: whose they are, what they are about,
//! on which node they run.

use std::collections::{BTreeSet, HashMap};

use berth_engine::manifest::LABEL_SUBJECT_ID;
use serde_json::Value;

use super::{document, store::Key};

/// The keys of objects by what their documents say.
#[derive(Debug, Default)]
pub(super) struct Index {
    keys: HashMap<Entry, BTreeSet<Key>>,
}

/// Something that documents say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Entry {
    /// `ownerReferences` name this uid.
    OwnedBy(String),
    /// An Event is about this uid.
    About(String),
    /// An Event about this uid gives this reason, and this message.
    Said(String, String, String),
    /// The label of berth with this subject's id.
    OfSubject(String),
    /// A pod that has not ended is on this node; without a name: on none.
    OnNode(Option<String>),
}

impl Index {
    pub(super) fn add(&mut self, key: &Key, document: &Value) {
        for entry in entries(key, document) {
            self.keys.entry(entry).or_default().insert(key.clone());
        }
    }

    pub(super) fn remove(&mut self, key: &Key, document: &Value) {
        for entry in entries(key, document) {
            if let Some(keys) = self.keys.get_mut(&entry) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys.remove(&entry);
                }
            }
        }
    }

    /// The keys of all objects that say so, in order.
    pub(super) fn get<'a>(&'a self, entry: &Entry) -> impl Iterator<Item = &'a Key> + use<'a> {
        self.keys.get(entry).into_iter().flatten()
    }
}

fn entries(key: &Key, object: &Value) -> Vec<Entry> {
    let owned = |text: &str| text.to_owned();
    let mut entries: Vec<Entry> = document::items(object, &["metadata", "ownerReferences"])
        .iter()
        .filter_map(|owner| owner["uid"].as_str().map(owned).map(Entry::OwnedBy))
        .collect();
    entries.extend(
        document::text(object, &["metadata", "labels", LABEL_SUBJECT_ID])
            .map(owned)
            .map(Entry::OfSubject),
    );
    if key.is("", "Event")
        && let Some(uid) = document::text(object, &["involvedObject", "uid"]).map(owned)
    {
        let text = |field: &str| document::text(object, &[field]).map(owned).unwrap_or_default();
        entries.push(Entry::Said(uid.clone(), text("reason"), text("message")));
        entries.push(Entry::About(uid));
    }
    let phase = document::text(object, &["status", "phase"]);
    if key.is("", "Pod") && !matches!(phase, Some("Succeeded" | "Failed")) {
        entries.push(Entry::OnNode(document::text(object, &["spec", "nodeName"]).map(owned)));
    }
    entries
}
