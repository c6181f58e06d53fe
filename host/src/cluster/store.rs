//! What is known of the objects of one kind in one place, without asking. Pure.
//!
//! Filled by a watch and by the answers to our own writes, so that we read what we wrote
//! although the watch has not told it yet.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use berth_engine::document::Document;
use foldhash::fast::RandomState;
use serde_json::Value;

use super::{
    objects::{Holder, metadata_only},
    packed::Packed,
};

/// Bytes that the documents of all stores may take together.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: AtomicUsize::new(0),
        }
    }

    /// How many bytes are taken.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Namespace, if any, and name.
pub(super) type Key = (Option<String>, String);

/// What is kept of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    Whole(Packed),
    /// The metadata, for lack of room: the rest must be asked for.
    Metadata(Packed),
}

impl Kept {
    /// The document, as far as it is kept.
    pub(super) fn document(&self) -> Document {
        let (Self::Whole(packed) | Self::Metadata(packed)) = self;
        packed.document()
    }
}

#[derive(Debug)]
struct Entry {
    uid: Box<str>,
    version: Version,
    holder: Option<Arc<Holder>>,
    kept: Kept,
    /// What was taken from the budget.
    bytes: usize,
}

/// A resourceVersion. They grow, for all objects of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Version(u64);

impl Version {
    /// Reads it from a document's metadata.
    pub(super) fn of(document: &Value) -> Self {
        Self::parse(document["metadata"]["resourceVersion"].as_str().unwrap_or_default())
    }

    pub(super) fn parse(text: &str) -> Self {
        Self(text.parse().unwrap_or_default())
    }
}

/// A list that is being taken over.
#[derive(Debug, Default)]
pub(super) struct Listing {
    listed: HashSet<Key>,
    /// What appeared or changed.
    pub(super) differing: Vec<Key>,
}

/// The objects of one kind in one place. Documents have been pruned before they come here.
#[derive(Debug)]
pub(super) struct Store {
    budget: Arc<Budget>,
    entries: HashMap<Arc<Key>, Entry, RandomState>,
    /// Few objects each, and many holders: keys are shared, and a list takes less room than a set.
    by_holder: HashMap<Arc<Holder>, Vec<Arc<Key>>, RandomState>,
    /// How far the watch has come.
    seen: Version,
    /// Uids that we know to be gone before the watch has told it.
    gone: HashSet<String>,
}

impl Store {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self {
            budget,
            entries: HashMap::default(),
            by_holder: HashMap::default(),
            seen: Version::default(),
            gone: HashSet::new(),
        }
    }

    /// Takes a page of a list over. So no more of a list than that is ever held as it came.
    pub(super) fn take_page(&mut self, listing: &mut Listing, page: impl Iterator<Item = Value>) {
        for item in page {
            let key = key(&item);
            // Whose deletion we were told of may be listed all the same.
            if !self.gone.contains(uid(&item)) && self.put(&item) {
                listing.differing.push(key.clone());
            }
            listing.listed.insert(key);
        }
    }

    /// A list of this version has ended: whatever it has not is gone. Answers with that, as it was at last.
    pub(super) fn end_list(&mut self, listing: &Listing, version: Version) -> Vec<Value> {
        self.seen = self.seen.max(version);
        self.gone.clear();
        // What was written after the list was made is not in it, and yet there.
        let vanished: Vec<Arc<Key>> = self
            .entries
            .iter()
            .filter(|(key, entry)| !listing.listed.contains(&***key) && entry.version <= version)
            .map(|(key, _)| Arc::clone(key))
            .collect();
        vanished.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// The watch tells of an object as it is now.
    pub(super) fn present(&mut self, document: &Value) {
        self.seen = self.seen.max(Version::of(document));
        if !self.gone.contains(uid(document)) {
            self.put(document);
        }
    }

    /// The watch tells that an object is gone.
    pub(super) fn vanished(&mut self, document: &Value) {
        self.seen = self.seen.max(Version::of(document));
        self.gone.remove(uid(document));
        let key = key(document);
        if self.entries.get(&key).is_some_and(|entry| *entry.uid == *uid(document)) {
            self.remove(&key);
        }
    }

    /// The watch has come to `version`.
    pub(super) fn reached(&mut self, version: Version) {
        self.seen = self.seen.max(version);
    }

    /// The API server answered a call of ours with this document.
    pub(super) fn answered(&mut self, document: &Value) {
        // If the watch is further and does not know it, then it has gone again meanwhile.
        let outdated = Version::of(document) <= self.seen && !self.entries.contains_key(&key(document));
        if !outdated && !self.gone.contains(uid(document)) {
            self.put(document);
        }
    }

    /// The API server said that there is no such object any more.
    pub(super) fn deleted(&mut self, key: &Key, uid: &str) {
        if self.entries.get(key).is_some_and(|entry| *entry.uid == *uid) {
            self.gone.insert(uid.to_owned());
            self.remove(key);
        }
    }

    /// All objects of a holder, in a namespace or in all.
    pub(super) fn held_by(&self, holder: &Holder, namespace: Option<&str>) -> Vec<(Arc<Key>, Kept)> {
        let keys = self.by_holder.get(holder);
        keys.into_iter()
            .flatten()
            .filter(|key| namespace.is_none() || key.0.as_deref() == namespace)
            .filter_map(|key| Some((Arc::clone(key), self.entries.get(key)?.kept.clone())))
            .collect()
    }

    /// One object.
    pub(super) fn get(&self, key: &Key) -> Option<&Kept> {
        self.entries.get(key).map(|entry| &entry.kept)
    }

    /// Where every object is.
    pub(super) fn keys(&self) -> Vec<Arc<Key>> {
        self.entries.keys().map(Arc::clone).collect()
    }

    /// Every object.
    pub(super) fn all(&self) -> impl Iterator<Item = &Kept> {
        self.entries.values().map(|entry| &entry.kept)
    }

    /// Stores a document unless what is there is as new; tells whether it did.
    fn put(&mut self, document: &Value) -> bool {
        let key = key(document);
        let version = Version::of(document);
        if self
            .entries
            .get(&key)
            .is_some_and(|entry| entry.version >= version && version != Version::default())
        {
            return false;
        }
        self.remove(&key);
        let whole = Packed::of(document);
        let bytes = whole.bytes();
        let (kept, bytes) = if self.budget.take(bytes) {
            (Kept::Whole(whole), bytes)
        } else {
            (Kept::Metadata(Packed::of(&metadata_only(document.clone()))), 0)
        };
        let key = Arc::new(key);
        let holder = Holder::of(document).map(|holder| match self.by_holder.get_key_value(&holder) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(holder),
        });
        if let Some(holder) = &holder {
            let keys = self
                .by_holder
                .entry(Arc::clone(holder))
                .or_insert_with(|| Vec::with_capacity(1));
            keys.push(Arc::clone(&key));
        }
        self.entries.insert(
            key,
            Entry {
                uid: uid(document).into(),
                version,
                holder,
                kept,
                bytes,
            },
        );
        true
    }

    fn remove(&mut self, key: &Key) -> Option<Value> {
        let entry = self.entries.remove(key)?;
        self.budget.give_back(entry.bytes);
        if let Some(holder) = &entry.holder
            && let Some(keys) = self.by_holder.get_mut(holder)
        {
            keys.retain(|one| **one != *key);
            if keys.is_empty() {
                self.by_holder.remove(holder);
            }
        }
        Some(entry.kept.document().into_value())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.budget
            .give_back(self.entries.values().map(|entry| entry.bytes).sum());
    }
}

/// The key of a document.
pub(super) fn key(document: &Value) -> Key {
    let metadata = &document["metadata"];
    (
        metadata["namespace"].as_str().map(str::to_owned),
        metadata["name"].as_str().unwrap_or_default().to_owned(),
    )
}

fn uid(document: &Value) -> &str {
    document["metadata"]["uid"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use berth_engine::{
        manifest::{LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND},
        subject::SubjectKey,
    };
    use serde_json::json;

    use super::*;

    fn object(name: &str, version: u64) -> Value {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {
            "name": name, "namespace": "n", "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
            "labels": {LABEL_ADAPTER: "lz", LABEL_SUBJECT_KIND: "Cluster", LABEL_SUBJECT_ID: "c-1"},
        }, "spec": {"version": version}})
    }

    fn holder() -> Holder {
        Holder {
            adapter: "lz".to_owned(),
            subject: SubjectKey {
                kind: "Cluster".to_owned(),
                id: "c-1".to_owned(),
            },
        }
    }

    fn store(limit: usize) -> Store {
        Store::new(Arc::new(Budget::new(limit)))
    }

    fn held(store: &Store) -> Vec<Value> {
        store
            .held_by(&holder(), None)
            .iter()
            .map(|(_, kept)| kept.document().into_value())
            .collect()
    }

    /// Lists these, each on a page of its own; answers with what differs, and what has vanished.
    fn list(store: &mut Store, items: Vec<Value>, version: Version) -> (Vec<Key>, Vec<Value>) {
        let mut listing = Listing::default();
        for item in items {
            store.take_page(&mut listing, std::iter::once(item));
        }
        let vanished = store.end_list(&listing, version);
        (listing.differing, vanished)
    }

    #[test]
    fn the_answer_to_a_write_is_seen_before_the_watch_tells_it() {
        let mut store = store(10_000);
        list(&mut store, vec![object("a", 5)], Version(10));
        store.answered(&object("a", 12));
        store.present(&object("a", 11));
        assert_eq!(held(&store), [object("a", 12)]);
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_does_not_bring_back_a_deleted_object() {
        let mut store = store(10_000);
        list(&mut store, vec![], Version(10));
        store.present(&object("a", 11));
        let mut last = object("a", 11);
        last["metadata"]["resourceVersion"] = json!("13");
        store.vanished(&last);
        store.answered(&object("a", 11));
        assert_eq!(held(&store), Vec::<Value>::new());
    }

    #[test]
    fn what_we_deleted_stays_away_although_the_watch_is_late() {
        let mut store = store(10_000);
        list(&mut store, vec![object("a", 5)], Version(10));
        store.deleted(&key(&object("a", 5)), "uid-a");
        store.present(&object("a", 7));
        assert_eq!(held(&store), Vec::<Value>::new());
    }

    #[test]
    fn what_we_deleted_while_it_was_listed_stays_away() {
        let mut store = store(10_000);
        list(&mut store, vec![object("a", 5)], Version(10));
        let mut listing = Listing::default();
        store.deleted(&key(&object("a", 5)), "uid-a");
        store.take_page(&mut listing, std::iter::once(object("a", 5)));
        assert_eq!(store.end_list(&listing, Version(20)), Vec::<Value>::new());
        assert_eq!(held(&store), Vec::<Value>::new());
    }

    #[test]
    fn a_list_tells_what_differs_and_keeps_what_was_written_after_it() {
        let mut store = store(10_000);
        list(
            &mut store,
            vec![object("same", 5), object("changed", 6), object("vanished", 7)],
            Version(10),
        );
        store.answered(&object("new", 21));
        let differing = list(&mut store, vec![object("same", 5), object("changed", 15)], Version(20));
        assert_eq!(
            differing,
            (vec![key(&object("changed", 15))], vec![object("vanished", 7)])
        );
        let mut names: Vec<_> = held(&store).iter().map(|one| one["metadata"]["name"].clone()).collect();
        names.sort_by_key(Value::to_string);
        assert_eq!(names, ["changed", "new", "same"]);
    }

    #[test]
    fn beyond_the_budget_only_metadata_is_kept_and_room_is_given_back() {
        let one = Packed::of(&object("a", 5)).bytes();
        let mut store = store(one + 10);
        list(&mut store, vec![object("a", 5)], Version(10));
        store.present(&object("b", 11));
        let kept = |store: &Store, name: &str| store.get(&key(&object(name, 0))).cloned();
        assert_eq!(kept(&store, "a"), Some(Kept::Whole(Packed::of(&object("a", 5)))));
        assert_eq!(
            kept(&store, "b"),
            Some(Kept::Metadata(Packed::of(&metadata_only(object("b", 11)))))
        );
        store.vanished(&object("a", 12));
        store.present(&object("b", 13));
        assert_eq!(kept(&store, "b"), Some(Kept::Whole(Packed::of(&object("b", 13)))));
    }
}
