//! What the API server does with a call.

use berth_engine::{
    contract::{Propagation, Query, Reference, Selector},
    diagnose::diagnose,
    effect::{Apply, ClusterFault, Delete, Deleted, Expect, KindScope, Observed, Ownership},
    manifest::{
        ANNOTATION_GENERATION, ANNOTATION_HASH, ANNOTATION_NAME, LABEL_ADAPTER, LABEL_SUBJECT_ID, LABEL_SUBJECT_KIND,
    },
};
use serde_json::{Value, json};

use super::{
    document, faults,
    fields::{self, Managers},
    garbage,
    index::Entry,
    kinds::Kind,
    model::Model,
    notices::reference,
    store::Key,
    validation,
};
use crate::world::{FOUND_AT_MOST, FOUND_BYTES, Identity};

impl Model {
    fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, ClusterFault> {
        self.kinds
            .get(api_version, kind)
            .cloned()
            .ok_or_else(|| faults::unknown_kind(api_version, kind))
    }

    /// A server-side apply.
    pub(super) fn apply(&mut self, identity: &Identity, apply: &Apply) -> Result<Observed, ClusterFault> {
        let kind = self.kind(&apply.reference.api_version, &apply.reference.kind)?;
        let name = &apply.reference.name;
        let key = Key::of(&kind, &apply.reference);
        self.access.check(identity, "patch", &kind, &key.namespace, name)?;
        if kind.namespaced && key.namespace.is_empty() {
            return Err(faults::invalid(&kind, name, "metadata.namespace: Required value"));
        }

        let existing = self
            .store
            .get(&key)
            .map(|stored| (stored.document.clone(), stored.managers.clone()));
        match (&existing, &apply.expect) {
            (None, Expect::Absent) => self.access.check(identity, "create", &kind, &key.namespace, name)?,
            (None, Expect::Unchanged { .. }) => {
                let why = "uid mismatch: the provided object specified a uid, and no existing object was found";
                return Err(faults::stale(&kind, name, why));
            }
            (Some(_), Expect::Absent) => return Err(faults::stale(&kind, name, faults::MODIFIED)),
            (Some((document, _)), Expect::Unchanged { uid, resource_version }) => {
                if document::uid(document) != uid || document["metadata"]["resourceVersion"] != *resource_version {
                    return Err(faults::stale(&kind, name, faults::MODIFIED));
                }
            }
        }
        self.check_namespace(&kind, &key.namespace, name)?;

        let mut wanted = apply.document.clone();
        if kind.status {
            document::remove(&mut wanted, &["status"]);
        }
        let is_new = existing.is_none();
        let (before, mut managers) = existing.unwrap_or_else(|| (skeleton(&kind, &key), Managers::new()));
        let mut after = before.clone();
        fields::apply(
            &mut after,
            &mut managers,
            &wanted,
            &apply.field_manager,
            apply.force,
            kind.custom,
        )
        .map_err(|conflict| faults::conflict(&conflict, &kind.api_version))?;
        if is_new {
            self.admit_new(&kind, &key, after, managers)?;
        } else {
            self.admit_change(&kind, &key, &before, after, managers)?;
        }
        self.settle();
        self.store
            .document(&key)
            .map(|document| self.observed(document))
            .ok_or_else(|| faults::not_found(&kind, name))
    }

    /// Creates an object as an administrator, who may own fields under any name.
    pub(super) fn create(&mut self, manager: &str, mut object: Value) -> Result<Value, ClusterFault> {
        let reference = reference(&object);
        let kind = self.kind(&reference.api_version, &reference.kind)?;
        let key = Key::of(&kind, &reference);
        if self.store.get(&key).is_some() {
            return Err(faults::exists(&kind, &reference.name));
        }
        self.check_namespace(&kind, &key.namespace, &reference.name)?;
        let mut managers = Managers::new();
        fields::updated(&mut managers, &Value::Null, &object, manager, kind.custom);
        if !kind.namespaced {
            document::remove(&mut object, &["metadata", "namespace"]);
        }
        self.admit_new(&kind, &key, object, managers)?;
        self.settle();
        Ok(self.store.document(&key).cloned().unwrap_or_default())
    }

    /// Changes an object as an administrator, status included.
    pub(super) fn edit(
        &mut self,
        reference: &Reference,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Value, ClusterFault> {
        let kind = self.kind(&reference.api_version, &reference.kind)?;
        let key = Key::of(&kind, reference);
        let Some(stored) = self.store.get(&key) else {
            return Err(faults::not_found(&kind, &reference.name));
        };
        let (before, mut managers) = (stored.document.clone(), stored.managers.clone());
        let mut after = before.clone();
        change(&mut after);
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
        ] {
            match before["metadata"].get(field) {
                Some(value) => document::set(&mut after, &["metadata", field], value.clone()),
                None => document::remove(&mut after, &["metadata", field]),
            }
        }
        fields::updated(&mut managers, &before, &after, manager, kind.custom);
        self.admit_change(&kind, &key, &before, after, managers)?;
        self.settle();
        Ok(self.store.document(&key).cloned().unwrap_or_default())
    }

    /// Lets a new object in.
    pub(super) fn admit_new(
        &mut self,
        kind: &Kind,
        key: &Key,
        mut object: Value,
        managers: Managers,
    ) -> Result<(), ClusterFault> {
        validation::fill_in(kind, &mut object);
        validation::check(kind, &object)?;
        if key.is("", "Pod") {
            self.check_service_account(kind, key, &object)?;
        }
        self.admission.check(&object)?;
        self.check_quota(kind, key, &object)?;
        let now = self.time();
        self.store.create_with(key.clone(), object, managers, &now, |object| {
            if key.is("batch", "Job") {
                validation::label_template(object);
            }
        });
        if key.is("", "Namespace") {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": key.name},
            });
            let account_key = Key::new("v1", "ServiceAccount", &key.name, "default");
            self.store.create(account_key, account, Managers::new(), &now);
        }
        Ok(())
    }

    fn admit_change(
        &mut self,
        kind: &Kind,
        key: &Key,
        before: &Value,
        after: Value,
        managers: Managers,
    ) -> Result<(), ClusterFault> {
        validation::check_immutable(kind, before, &after)?;
        validation::check(kind, &after)?;
        if before != &after {
            self.admission.check(&after)?;
        }
        self.store.replace(key, after, Some(managers));
        Ok(())
    }

    /// A conditional delete.
    pub(super) fn delete(&mut self, identity: &Identity, delete: &Delete) -> Result<Deleted, ClusterFault> {
        let kind = self.kind(&delete.reference.api_version, &delete.reference.kind)?;
        let key = Key::of(&kind, &delete.reference);
        self.access
            .check(identity, "delete", &kind, &key.namespace, &delete.reference.name)?;
        let Some(document) = self.store.document(&key) else {
            return Ok(Deleted::Absent);
        };
        let precondition = |what: &str, asked: &str, found: &str| {
            let why = format!("Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}");
            faults::stale(&kind, &delete.reference.name, &why)
        };
        let uid = document::uid(document);
        if uid != delete.uid {
            return Err(precondition("UID", &delete.uid, uid));
        }
        let version = document::text(document, &["metadata", "resourceVersion"]).unwrap_or_default();
        if version != delete.resource_version {
            return Err(precondition("ResourceVersion", &delete.resource_version, version));
        }
        self.begin_deletion(&key, delete.propagation);
        self.settle();
        Ok(Deleted::Begun)
    }

    /// Deletes an object whatever it looks like.
    pub(super) fn remove(&mut self, reference: &Reference, propagation: Propagation) -> Result<Deleted, ClusterFault> {
        let kind = self.kind(&reference.api_version, &reference.kind)?;
        let key = Key::of(&kind, reference);
        if self.store.get(&key).is_none() {
            return Ok(Deleted::Absent);
        }
        self.begin_deletion(&key, propagation);
        self.settle();
        Ok(Deleted::Begun)
    }

    /// Begins an object's deletion, and ends it where nothing has to be waited for.
    pub(super) fn begin_deletion(&mut self, key: &Key, propagation: Propagation) {
        let Some(mut document) = self.store.document(key).cloned() else {
            return;
        };
        if document::is_deleting(&document) {
            return;
        }
        match propagation {
            Propagation::Background => {}
            Propagation::Foreground => document::add_finalizer(&mut document, garbage::FOREGROUND),
            Propagation::Orphan => document::add_finalizer(&mut document, garbage::ORPHAN),
        }
        let stays_a_while = key.is("", "Namespace") || key.is("", "Pod");
        if !stays_a_while && document::items(&document, &["metadata", "finalizers"]).is_empty() {
            self.store.remove(key);
            return;
        }
        document::set(&mut document, &["metadata", "deletionTimestamp"], json!(self.time()));
        document::set(&mut document, &["metadata", "deletionGracePeriodSeconds"], json!(0));
        if key.is("", "Namespace") {
            document::set(&mut document, &["status", "phase"], json!("Terminating"));
        }
        self.store.replace(key, document, None);
        self.store.mark(key, "deletion", self.now);
    }

    /// What an adapter owns for a subject.
    pub(super) fn observe(&self, ownership: &Ownership) -> Vec<Observed> {
        let labels = [
            (LABEL_ADAPTER, ownership.adapter.as_str()),
            (LABEL_SUBJECT_KIND, ownership.subject.kind.as_str()),
            (LABEL_SUBJECT_ID, ownership.subject.id.as_str()),
        ];
        let mut found: Vec<Observed> = Vec::new();
        let subject = Entry::OfSubject(ownership.subject.id.clone());
        for scope in &ownership.kinds {
            for document in self.store.indexed(&subject).map(|(_, stored)| &stored.document) {
                let labelled = labels.iter().all(|(label, value)| has_label(document, label, value));
                let ours = labelled && self.covers(scope, document) && !document::is_controlled(document);
                if ours && !found.iter().any(|other| other.uid == document::uid(document)) {
                    found.push(self.observed(document));
                }
            }
        }
        found
    }

    /// Whether an object is of this kind, which is known, and in its place.
    fn covers(&self, scope: &KindScope, document: &Value) -> bool {
        let group = super::kinds::group;
        let known = self.kinds.get(&scope.api_version, &scope.kind);
        let namespace = scope
            .namespace
            .as_deref()
            .filter(|_| known.is_some_and(|kind| kind.namespaced));
        known.is_some()
            && document["kind"] == scope.kind.as_str()
            && document["apiVersion"].as_str().map(group) == Some(group(&scope.api_version))
            && namespace.is_none_or(|namespace| document::text(document, &["metadata", "namespace"]) == Some(namespace))
    }

    /// What an adapter owns for all subjects, without a diagnosis.
    pub(super) fn owned(&self, adapter: &str, kinds: &[KindScope]) -> Vec<Observed> {
        let mut found: Vec<Observed> = Vec::new();
        for document in kinds.iter().flat_map(|scope| self.listed(scope)) {
            let ours = has_label(document, LABEL_ADAPTER, adapter) && !document::is_controlled(document);
            if ours && !found.iter().any(|other| other.uid == document::uid(document)) {
                found.push(Observed {
                    diagnosis: None,
                    ..self.observed(document)
                });
            }
        }
        found
    }

    fn listed<'a>(&'a self, scope: &'a KindScope) -> impl Iterator<Item = &'a Value> {
        let group = super::kinds::group(&scope.api_version);
        let known = self.kinds.get(&scope.api_version, &scope.kind);
        let namespace = scope
            .namespace
            .as_deref()
            .filter(|_| known.is_some_and(|kind| kind.namespaced));
        let objects = self
            .store
            .of_kind(group, &scope.kind, namespace)
            .filter(move |_| known.is_some());
        objects.map(|(_, stored)| &stored.document)
    }

    fn observed(&self, document: &Value) -> Observed {
        let annotation = |name: &str| {
            document::text(document, &["metadata", "annotations", name])
                .unwrap_or_default()
                .to_owned()
        };
        let pods: Vec<Value> = self.pods_of(document).into_iter().map(|(_, pod)| pod).collect();
        let mut uids = vec![document::uid(document)];
        uids.extend(pods.iter().map(document::uid));
        // What befalls a Deployment's pods before they exist is told of its replica sets.
        uids.extend(
            self.store
                .dependents(document::uid(document))
                .map(|(_, stored)| document::uid(&stored.document)),
        );
        let events = self.events_about(&uids);
        let mut shown = document.clone();
        if document["apiVersion"] == "v1" && (document["kind"] == "Secret" || document["kind"] == "ConfigMap") {
            shown = json!({
                "apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": document["metadata"],
            });
        }
        Observed {
            reference: reference(document),
            name: annotation(ANNOTATION_NAME),
            generation: annotation(ANNOTATION_GENERATION).parse().unwrap_or(0),
            manifest_hash: annotation(ANNOTATION_HASH),
            uid: document::uid(document).to_owned(),
            resource_version: document::text(document, &["metadata", "resourceVersion"])
                .unwrap_or_default()
                .to_owned(),
            deleting: document::is_deleting(document),
            document: shown.into(),
            statusless: self.is_statusless(document),
            diagnosis: diagnose(document, &pods, &events, self.now),
        }
    }

    fn is_statusless(&self, document: &Value) -> bool {
        let text = |field: &str| document::text(document, &[field]).unwrap_or_default();
        let known = self.kinds.get(text("apiVersion"), text("kind"));
        known.is_some_and(|kind| !kind.status)
    }

    /// Objects by name or by labels.
    pub(super) fn find(&self, identity: &Identity, query: &Query) -> Result<Vec<Value>, ClusterFault> {
        let kind = self.kind(&query.api_version, &query.kind)?;
        let namespace = query.namespace.clone().unwrap_or_default();
        let scope = KindScope {
            api_version: query.api_version.clone(),
            kind: query.kind.clone(),
            namespace: query.namespace.clone(),
        };
        let found: Vec<Value> = match &query.selector {
            Selector::Name(name) => {
                self.access.check(identity, "get", &kind, &namespace, name)?;
                self.listed(&scope)
                    .filter(|document| document::name(document) == name)
                    .cloned()
                    .collect()
            }
            Selector::Labels(labels) => {
                self.access.check(identity, "list", &kind, &namespace, "")?;
                let matches = |document: &&Value| labels.iter().all(|(label, value)| has_label(document, label, value));
                self.listed(&scope)
                    .filter(matches)
                    .take(FOUND_AT_MOST)
                    .cloned()
                    .collect()
            }
        };
        if found.iter().map(|document| document.to_string().len()).sum::<usize>() > FOUND_BYTES {
            return Err(faults::too_much(&query.kind));
        }
        Ok(found)
    }
}

fn has_label(document: &Value, label: &str, value: &str) -> bool {
    document::text(document, &["metadata", "labels", label]) == Some(value)
}

/// What an object is before anything is said of it.
fn skeleton(kind: &Kind, key: &Key) -> Value {
    let mut document = json!({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": key.name}});
    if kind.namespaced {
        document::set(&mut document, &["metadata", "namespace"], json!(key.namespace));
    }
    document
}
