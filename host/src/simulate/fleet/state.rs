//! All resources, and what can be done to them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    aggregate,
    problem::{Problem, Trouble},
    resource::{Kind, Resource, Row},
    status::{Incoming, Taken},
};
use crate::fleet::Response;

/// The API's state. Time is passed to every call.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetState {
    required: BTreeMap<Kind, Vec<String>>,
    /// By id, in the order of their creation.
    pub(super) resources: IndexMap<String, Resource>,
    /// The kinds and names of resources by their owner's id, which are asked for with every report.
    names: BTreeMap<Option<String>, BTreeSet<(Kind, String)>>,
    /// How many identifiers were given out.
    identifiers: u64,
}

impl FleetState {
    /// An empty API that waits for these adapters: those of clusters, and those of node pools.
    #[must_use]
    pub fn new(cluster_adapters: &[&str], nodepool_adapters: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            required: BTreeMap::from([
                (Kind::Cluster, owned(cluster_adapters)),
                (Kind::NodePool, owned(nodepool_adapters)),
            ]),
            ..Self::default()
        }
    }

    /// Creates a resource, a node pool under the path of its cluster, and returns it.
    ///
    /// # Errors
    /// The API's refusal.
    pub fn create(
        &mut self,
        now: Timestamp,
        kind: Kind,
        owner: Option<&str>,
        name: &str,
        spec: &Value,
    ) -> Result<Value, Response> {
        let root = "/api/hyperfleet/v1";
        let path = format!("{}/{}", owner.unwrap_or(root), kind.plural());
        self.expect_body(
            now,
            "POST",
            &path,
            &json!({"kind": kind.name(), "name": name, "spec": spec}),
        )
    }

    /// Changes `spec`, `labels` or `references` of the resource at this path, and returns it.
    ///
    /// # Errors
    /// The API's refusal.
    pub fn patch(&mut self, now: Timestamp, path: &str, change: &Value) -> Result<Value, Response> {
        self.expect_body(now, "PATCH", path, change)
    }

    /// Begins to delete the resource at this path, and returns it.
    ///
    /// # Errors
    /// The API's refusal.
    pub fn delete(&mut self, now: Timestamp, path: &str) -> Result<Value, Response> {
        self.expect_body(now, "DELETE", path, &Value::Null)
    }

    fn expect_body(&mut self, now: Timestamp, method: &str, path: &str, body: &Value) -> Result<Value, Response> {
        let response = self.handle(now, method, path, None, body.to_string().as_bytes());
        match serde_json::from_slice(&response.body) {
            Ok(body) if response.status < 300 => Ok(body),
            Ok(_) | Err(_) => Err(response),
        }
    }

    /// Adapters that a kind waits for.
    pub(super) fn required(&self, kind: Kind) -> &[String] {
        self.required.get(&kind).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_children(&self, id: &str) -> bool {
        self.names.contains_key(&Some(id.to_owned()))
    }

    fn forget(&mut self, id: &str) {
        let Some(resource) = self.resources.shift_remove(id) else {
            return;
        };
        if let Entry::Occupied(mut names) = self.names.entry(resource.owner) {
            names.get_mut().remove(&(resource.kind, resource.name));
            if names.get().is_empty() {
                names.remove();
            }
        }
    }

    /// A time-ordered identifier, the same for the same history.
    pub(super) fn identifier(&mut self, now: Timestamp) -> String {
        self.identifiers += 1;
        let mut bytes = [0; 10];
        bytes[2..].copy_from_slice(&self.identifiers.to_be_bytes());
        let millisecond = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let id: Uuid = uuid::Builder::from_unix_timestamp_millis(millisecond, &bytes).into_uuid();
        id.to_string()
    }

    pub(super) fn insert(
        &mut self,
        now: Timestamp,
        kind: Kind,
        owner: Option<&str>,
        body: &Map<String, Value>,
    ) -> Result<Value, Problem> {
        let name = checked_name(kind, body)?;
        match body.get("kind").and_then(Value::as_str) {
            Some(written) if written == kind.name() => {}
            Some(_) | None => return Err(Trouble::Invalid.because(format!("kind must be {}", kind.name()))),
        }
        let spec = object(body, "spec")?.ok_or_else(|| Trouble::Invalid.because("spec is required"))?;
        let labels = labels(body)?.unwrap_or_default();
        if let Some(owner) = owner {
            let owner = self.found(owner)?;
            if owner.deleted.is_some() {
                return Err(Trouble::WrongState.because(format!("{} is being deleted", owner.id)));
            }
        }
        let owner = owner.map(str::to_owned);
        if !self
            .names
            .entry(owner.clone())
            .or_default()
            .insert((kind, name.clone()))
        {
            return Err(Trouble::Exists.because(format!("{} '{name}' already exists", kind.name())));
        }
        let id = self.identifier(now);
        let resource = Resource {
            id: id.clone(),
            kind,
            name,
            owner,
            spec: Value::Object(spec),
            labels,
            references: body.get("references").cloned().unwrap_or_default(),
            generation: 1,
            created: now,
            updated: now,
            deleted: None,
            rows: Vec::new(),
            conditions: Vec::new(),
        };
        self.resources.insert(id.clone(), resource);
        self.aggregate(&id, now);
        Ok(self.found(&id)?.json())
    }

    pub(super) fn change(&mut self, now: Timestamp, id: &str, body: &Map<String, Value>) -> Result<Value, Problem> {
        if let Some(unknown) = body
            .keys()
            .find(|key| !matches!(key.as_str(), "spec" | "labels" | "references"))
        {
            return Err(Trouble::Invalid.because(format!("unknown field '{unknown}'")));
        }
        let (spec, labels) = (object(body, "spec")?, labels(body)?);
        let resource = self.found(id)?;
        if resource.deleted.is_some() {
            return Err(Trouble::WrongState.because(format!("{id} is being deleted")));
        }
        let mut changed = resource.clone();
        if let Some(spec) = spec {
            changed.spec = Value::Object(spec);
        }
        if let Some(labels) = labels {
            changed.labels = labels;
        }
        if let Some(references) = body.get("references") {
            changed.references = references.clone();
        }
        if changed != *resource {
            changed.generation += 1;
            changed.updated = now;
            self.resources.insert(id.to_owned(), changed);
            self.aggregate(id, now);
        }
        Ok(self.found(id)?.json())
    }

    /// Soft-deletes with all children, or removes at once what nobody has to clean up.
    pub(super) fn remove(&mut self, now: Timestamp, id: &str) -> Result<Value, Problem> {
        let children: Vec<String> = self
            .resources
            .values()
            .filter(|child| child.owner.as_deref() == Some(id))
            .map(|child| child.id.clone())
            .collect();
        let kind = self.found(id)?.kind;
        for child in children {
            self.remove(now, &child)?;
        }
        let immediate = self.required(kind).is_empty() && !self.has_children(id);
        if let Some(resource) = self.resources.get_mut(id)
            && resource.deleted.is_none()
        {
            resource.deleted = Some(now);
            resource.updated = now;
            resource.generation += 1;
        }
        self.aggregate(id, now);
        let json = self.found(id)?.json();
        if immediate {
            self.forget(id);
        }
        Ok(json)
    }

    pub(super) fn remove_by_force(&mut self, id: &str, body: &Map<String, Value>) -> Result<(), Problem> {
        let reason = body.get("reason").and_then(Value::as_str).unwrap_or_default();
        if reason.is_empty() || reason.chars().count() > 1024 {
            return Err(Trouble::Invalid.because("reason must have 1 to 1024 characters"));
        }
        if self.found(id)?.deleted.is_none() {
            return Err(Trouble::WrongState.because(format!("{id} is not being deleted")));
        }
        let gone = |resource: &&Resource| resource.id == id || resource.owner.as_deref() == Some(id);
        let gone: Vec<String> = self.resources.values().filter(gone).map(|one| one.id.clone()).collect();
        gone.iter().for_each(|id| self.forget(id));
        Ok(())
    }

    /// Takes a report. `None` is a silent discard.
    pub(super) fn report(&mut self, now: Timestamp, id: &str, incoming: Incoming) -> Result<Option<Row>, Problem> {
        let (row, aggregate, finalized) = match incoming.take(self.found(id)?)? {
            Taken::Discarded => return Ok(None),
            Taken::Kept(row) => return Ok(Some(row)),
            Taken::Stored {
                row,
                aggregate,
                finalized,
            } => (row, aggregate, finalized),
        };
        if let Some(resource) = self.resources.get_mut(id) {
            match resource.rows.iter_mut().find(|known| known.adapter == row.adapter) {
                Some(known) => *known = row.clone(),
                None => resource.rows.push(row.clone()),
            }
        }
        if aggregate {
            self.aggregate(id, now);
        }
        let resource = self.found(id)?;
        if finalized
            && resource.deleted.is_some()
            && !self.has_children(id)
            && aggregate::finalized(resource, self.required(resource.kind))
        {
            self.forget(id);
        }
        Ok(Some(row))
    }

    pub(super) fn found(&self, id: &str) -> Result<&Resource, Problem> {
        self.resources
            .get(id)
            .ok_or_else(|| Trouble::NoSuchResource.because(format!("no resource with id '{id}'")))
    }

    fn aggregate(&mut self, id: &str, now: Timestamp) {
        let has_children = self.has_children(id);
        if let Some(resource) = self.resources.get_mut(id) {
            let required = self.required.get(&resource.kind).map_or(&[][..], Vec::as_slice);
            aggregate::aggregate(resource, required, has_children, now);
        }
    }
}

fn checked_name(kind: Kind, body: &Map<String, Value>) -> Result<String, Problem> {
    let name = body.get("name").and_then(Value::as_str).unwrap_or_default();
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (3..=kind.longest_name()).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        Ok(name.to_owned())
    } else {
        Err(Trouble::Invalid.because(format!(
            "name must have 3 to {} lower-case letters, digits and inner dashes",
            kind.longest_name()
        )))
    }
}

fn object(body: &Map<String, Value>, key: &str) -> Result<Option<Map<String, Value>>, Problem> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object.clone())),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(Trouble::Invalid.because(format!("{key} must be an object")))
        }
    }
}

fn labels(body: &Map<String, Value>) -> Result<Option<Map<String, Value>>, Problem> {
    let labels = object(body, "labels")?;
    if labels.iter().flat_map(Map::values).any(|value| !value.is_string()) {
        return Err(Trouble::Invalid.because("labels must be strings"));
    }
    Ok(labels)
}
