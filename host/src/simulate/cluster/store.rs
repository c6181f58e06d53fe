//! The objects: what etcd is to the API server.

use std::collections::{BTreeMap, HashMap};

use berth_engine::contract::Reference;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    document,
    fields::Managers,
    index::{Entry, Index},
    kinds,
    kinds::Kind,
};

/// Where an object is. The version of its kind does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) group: String,
    pub(super) kind: String,
    /// Empty for a cluster-scoped kind.
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(api_version: &str, kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            group: kinds::group(api_version).to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Where an object of this kind is; the namespace of a cluster-scoped one is ignored.
    pub(super) fn of(kind: &Kind, reference: &Reference) -> Self {
        let namespace = if kind.namespaced {
            reference.namespace.as_deref().unwrap_or_default()
        } else {
            ""
        };
        Self::new(&kind.api_version, &kind.kind, namespace, &reference.name)
    }

    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }
}

/// An object and what is known of it beyond its document.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) document: Value,
    pub(super) managers: Managers,
    /// When steps of its life happened, more exactly than its document says.
    pub(super) marks: BTreeMap<&'static str, Timestamp>,
}

/// What happened to an object.
#[derive(Debug, Clone)]
pub(super) enum Happened {
    /// It appeared or changed.
    Written(Key),
    /// It vanished; this is its last document.
    Removed(Key, Box<Value>),
}

/// The objects.
#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Stored>,
    by_uid: HashMap<String, Key>,
    index: Index,
    resource_version: u64,
    created: u64,
    /// What happened and nobody has looked at yet.
    pub(super) news: Vec<Happened>,
}

impl Store {
    pub(super) fn new() -> Self {
        // Not from 1: a create is asked for with resourceVersion 1, which no object may have.
        Self {
            objects: BTreeMap::new(),
            by_uid: HashMap::new(),
            index: Index::default(),
            resource_version: 100,
            created: 0,
            news: Vec::new(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Stored> {
        self.objects.get(key)
    }

    pub(super) fn document(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|stored| &stored.document)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Stored)> {
        self.objects.iter()
    }

    /// The objects of a kind, in one namespace or in all.
    pub(super) fn of_kind<'a>(
        &'a self,
        group: &'a str,
        kind: &'a str,
        namespace: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Stored)> {
        let first = Key {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            name: String::new(),
        };
        let here = move |key: &Key| namespace.is_none_or(|namespace| key.namespace == namespace);
        self.objects
            .range(first..)
            .take_while(move |(key, _)| key.is(group, kind) && here(key))
    }

    /// The objects whose documents say so, in order.
    pub(super) fn indexed<'a>(&'a self, entry: &Entry) -> impl Iterator<Item = (&'a Key, &'a Stored)> + use<'a> {
        self.index.get(entry).filter_map(|key| self.objects.get_key_value(key))
    }

    pub(super) fn key_of(&self, uid: &str) -> Option<&Key> {
        self.by_uid.get(uid)
    }

    /// The objects whose `ownerReferences` name this uid.
    pub(super) fn dependents<'a>(&'a self, uid: &str) -> impl Iterator<Item = (&'a Key, &'a Stored)> + use<'a> {
        self.indexed(&Entry::OwnedBy(uid.to_owned()))
    }

    /// A number that no object has had yet, for names and uids.
    pub(super) fn next(&mut self) -> u64 {
        self.created += 1;
        self.created
    }

    /// Adds an object with its own uid, resourceVersion and creation time.
    pub(super) fn create(&mut self, key: Key, document: Value, managers: Managers, now: &str) {
        self.create_with(key, document, managers, now, |_| {});
    }

    /// Adds an object and completes it once its uid is known.
    pub(super) fn create_with(
        &mut self,
        key: Key,
        mut document: Value,
        managers: Managers,
        now: &str,
        complete: impl FnOnce(&mut Value),
    ) {
        let uid = format!("00000000-0000-4000-8000-{:012x}", self.next());
        self.resource_version += 1;
        document::set(&mut document, &["metadata", "uid"], json!(uid));
        document::set(&mut document, &["metadata", "creationTimestamp"], json!(now));
        document::set(
            &mut document,
            &["metadata", "resourceVersion"],
            json!(self.resource_version.to_string()),
        );
        if document.get("spec").is_some() {
            document::set(&mut document, &["metadata", "generation"], json!(1));
        }
        complete(&mut document);
        self.by_uid.insert(uid, key.clone());
        self.index.add(&key, &document);
        self.objects.insert(
            key.clone(),
            Stored {
                document,
                managers,
                marks: BTreeMap::new(),
            },
        );
        self.news.push(Happened::Written(key));
    }

    /// Replaces an object. Without a difference nothing happens; with one its resourceVersion
    /// rises, and its generation if its spec differs.
    pub(super) fn replace(&mut self, key: &Key, mut document: Value, managers: Option<Managers>) {
        let Some(stored) = self.objects.get_mut(key) else {
            return;
        };
        if let Some(managers) = managers {
            stored.managers = managers;
        }
        if stored.document == document {
            return;
        }
        self.resource_version += 1;
        if stored.document.get("spec") != document.get("spec") {
            let generation = document::number(&stored.document, &["metadata", "generation"]).unwrap_or(0);
            document::set(&mut document, &["metadata", "generation"], json!(generation + 1));
        }
        document::set(
            &mut document,
            &["metadata", "resourceVersion"],
            json!(self.resource_version.to_string()),
        );
        self.index.remove(key, &stored.document);
        self.index.add(key, &document);
        stored.document = document;
        self.news.push(Happened::Written(key.clone()));
    }

    /// Changes an object as a controller does.
    pub(super) fn change(&mut self, key: &Key, change: impl FnOnce(&mut Value)) {
        if let Some(mut document) = self.document(key).cloned() {
            change(&mut document);
            self.replace(key, document, None);
        }
    }

    /// Notes when a step of its life happened, if that is not noted yet; says when it was.
    pub(super) fn mark(&mut self, key: &Key, step: &'static str, now: Timestamp) -> Timestamp {
        match self.objects.get_mut(key) {
            Some(stored) => *stored.marks.entry(step).or_insert(now),
            None => now,
        }
    }

    /// Forgets a step of its life.
    pub(super) fn unmark(&mut self, key: &Key, step: &'static str) {
        if let Some(stored) = self.objects.get_mut(key) {
            stored.marks.remove(step);
        }
    }

    pub(super) fn marked(&self, key: &Key, step: &'static str) -> Option<Timestamp> {
        self.objects.get(key).and_then(|stored| stored.marks.get(step).copied())
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(stored) = self.objects.remove(key) {
            self.resource_version += 1;
            self.by_uid.remove(document::uid(&stored.document));
            self.index.remove(key, &stored.document);
            self.news
                .push(Happened::Removed(key.clone(), Box::new(stored.document)));
        }
    }
}
