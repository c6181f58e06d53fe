//! Who owns which field, and what a server-side apply does with them.
//!
//! Owns the merge: maps are merged key by key, lists of built-in kinds that Kubernetes merges
//! by a key (containers by name, ports by number, conditions by type) item by item, all other
//! lists as one value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The way to one field.
pub(super) type Path = Vec<Step>;

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Into a map.
    Field(String),
    /// Into the item of a list whose field `key` is `value` (as JSON).
    Item {
        /// The field that tells items apart.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
    },
}

/// Which fields each manager owns.
pub(super) type Managers = BTreeMap<String, BTreeSet<Path>>;

/// Another manager owns fields that an apply would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conflict {
    /// Who, and which fields, as Kubernetes writes them.
    pub(super) fields: BTreeMap<String, Vec<String>>,
}

/// Applies `wanted` to `live` as `manager`. With `force`, fields that others own are taken over.
///
/// `live` and `managers` change only if there is no conflict.
pub(super) fn apply(
    live: &mut Value,
    managers: &mut Managers,
    wanted: &Value,
    manager: &str,
    force: bool,
    custom: bool,
) -> Result<(), Conflict> {
    let leaves = leaves(wanted, custom);
    let mut conflict = Conflict {
        fields: BTreeMap::new(),
    };
    for (path, value) in &leaves {
        if is_kept(get(live, path), value) {
            continue;
        }
        for (other, owned) in managers.iter().filter(|(other, _)| *other != manager) {
            if owned
                .iter()
                .any(|theirs| theirs.starts_with(path) || path.starts_with(theirs))
            {
                conflict.fields.entry(other.clone()).or_default().push(written(path));
            }
        }
    }
    if !conflict.fields.is_empty() && !force {
        return Err(conflict);
    }

    let before = managers.remove(manager).unwrap_or_default();
    for (path, value) in &leaves {
        if !is_kept(get(live, path), value) {
            for owned in managers.values_mut() {
                owned.retain(|theirs| !theirs.starts_with(path) && !path.starts_with(theirs));
            }
        }
    }
    let owned_by_others = |path: &Path| managers.values().flatten().any(|theirs| theirs.starts_with(path));
    for dropped in &before {
        if !leaves.keys().any(|path| path.starts_with(dropped)) && !owned_by_others(dropped) {
            remove(live, dropped);
        }
    }
    for (path, value) in &leaves {
        if !is_kept(get(live, path), value) {
            set(live, path, value.clone());
        }
    }
    managers.insert(manager.to_owned(), leaves.into_keys().collect());
    managers.retain(|_, owned| !owned.is_empty());
    Ok(())
}

/// Notes that `manager` changed `before` to `after` by an update: it owns what it changed, and
/// nobody else does any more.
pub(super) fn updated(managers: &mut Managers, before: &Value, after: &Value, manager: &str, custom: bool) {
    let (old, new) = (leaves(before, custom), leaves(after, custom));
    let changed: BTreeSet<Path> = new
        .iter()
        .filter(|(path, value)| old.get(*path) != Some(*value))
        .map(|(path, _)| path.clone())
        .collect();
    for owned in managers.values_mut() {
        owned.retain(|path| new.contains_key(path) && !changed.contains(path));
    }
    managers.entry(manager.to_owned()).or_default().extend(changed);
    managers.retain(|_, owned| !owned.is_empty());
}

/// Whether what is there already is what is wanted. An empty map is satisfied by any map.
fn is_kept(live: Option<&Value>, wanted: &Value) -> bool {
    match (live, wanted) {
        (Some(Value::Object(_)), Value::Object(wanted)) if wanted.is_empty() => true,
        (live, wanted) => live == Some(wanted),
    }
}

/// Fields that identify the object or belong to the API server: nobody owns them.
const UNOWNED_METADATA: [&str; 9] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "generateName",
];

fn leaves(document: &Value, custom: bool) -> BTreeMap<Path, Value> {
    let mut found = BTreeMap::new();
    let mut path = Path::new();
    for (field, value) in document.as_object().into_iter().flatten() {
        match (field.as_str(), value) {
            ("apiVersion" | "kind", _) => {}
            ("metadata", Value::Object(metadata)) => {
                for (field, value) in metadata
                    .iter()
                    .filter(|(field, _)| !UNOWNED_METADATA.contains(&field.as_str()))
                {
                    path.push(Step::Field("metadata".to_owned()));
                    collect(field, value, custom, &mut path, &mut found);
                    path.pop();
                }
            }
            _ => collect(field, value, custom, &mut path, &mut found),
        }
    }
    found
}

fn collect(field: &str, value: &Value, custom: bool, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
    path.push(Step::Field(field.to_owned()));
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (field, value) in map {
                collect(field, value, custom, path, found);
            }
        }
        Value::Array(items) if !items.is_empty() => match merge_key(field, items, custom) {
            Some(key) => {
                for item in items {
                    path.push(Step::Item {
                        key,
                        value: item[key].to_string(),
                    });
                    for (field, value) in item.as_object().into_iter().flatten() {
                        collect(field, value, custom, path, found);
                    }
                    path.pop();
                }
            }
            None => {
                found.insert(path.clone(), value.clone());
            }
        },
        // A null says the same as no field.
        Value::Null => {}
        Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            found.insert(path.clone(), value.clone());
        }
    }
    path.pop();
}

/// By which field the items of a list are told apart, if Kubernetes merges it.
fn merge_key(field: &str, items: &[Value], custom: bool) -> Option<&'static str> {
    let candidates: &[&'static str] = match field {
        "ownerReferences" => &["uid"],
        _ if custom => &[],
        "containers" | "initContainers" | "ephemeralContainers" | "env" | "volumes" | "imagePullSecrets" => &["name"],
        "ports" => &["containerPort", "port"],
        "volumeMounts" => &["mountPath"],
        "conditions" => &["type"],
        _ => &[],
    };
    candidates
        .iter()
        .copied()
        .find(|key| items.iter().all(|item| item.get(*key).is_some()))
}

fn get<'a>(document: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(document, |at, step| match step {
        Step::Field(field) => at.get(field),
        Step::Item { key, value } => at.as_array()?.iter().find(|item| is_item(item, key, value)),
    })
}

fn set(document: &mut Value, path: &[Step], value: Value) {
    let Some((step, rest)) = path.split_first() else {
        *document = value;
        return;
    };
    match step {
        Step::Field(field) => {
            if !document.is_object() {
                *document = Value::Object(Map::new());
            }
            if let Value::Object(map) = document {
                set(map.entry(field.clone()).or_insert(Value::Null), rest, value);
            }
        }
        Step::Item { key, value: wanted } => {
            if !document.is_array() {
                *document = Value::Array(Vec::new());
            }
            if let Value::Array(items) = document {
                let at = items
                    .iter()
                    .position(|item| is_item(item, key, wanted))
                    .unwrap_or_else(|| {
                        let value = serde_json::from_str(wanted).unwrap_or_default();
                        items.push(Value::Object(Map::from_iter([((*key).to_owned(), value)])));
                        items.len() - 1
                    });
                set(&mut items[at], rest, value);
            }
        }
    }
}

/// Removes a field, and the maps and items that are empty without it.
fn remove(document: &mut Value, path: &[Step]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step, document) {
        (Step::Field(field), Value::Object(map)) => {
            let Some(inner) = map.get_mut(field) else { return };
            remove(inner, rest);
            if rest.is_empty() || is_empty(inner) {
                map.remove(field);
            }
        }
        (Step::Item { key, value }, Value::Array(items)) => {
            let Some(at) = items.iter().position(|item| is_item(item, key, value)) else {
                return;
            };
            remove(&mut items[at], rest);
            if rest.is_empty() || is_empty(&items[at]) {
                items.remove(at);
            }
        }
        (Step::Field(_) | Step::Item { .. }, _) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_item(item: &Value, key: &str, value: &str) -> bool {
    let found = item.get(key).map(Value::to_string);
    found.as_deref() == Some(value)
}

fn written(path: &[Step]) -> String {
    path.iter()
        .map(|step| match step {
            Step::Field(field) => format!(".{field}"),
            Step::Item { key, value } => format!("[{key}={value}]"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use insta::assert_json_snapshot;
    use serde_json::json;

    use super::*;

    fn by(manager: &str, wanted: &Value) -> (Value, Managers) {
        let (mut live, mut managers) = (json!({}), Managers::new());
        apply(&mut live, &mut managers, wanted, manager, false, false).unwrap();
        (live, managers)
    }

    #[test]
    fn a_field_that_its_only_manager_drops_is_removed_with_its_empty_parents() {
        let (mut live, mut managers) = by("a", &json!({"data": {"x": "1"}, "spec": {"deep": {"y": 2}}}));
        apply(
            &mut live,
            &mut managers,
            &json!({"data": {"x": "1"}}),
            "a",
            false,
            false,
        )
        .unwrap();
        assert_eq!(live, json!({"data": {"x": "1"}}));
    }

    #[test]
    fn a_field_that_two_managers_want_alike_survives_one_of_them() {
        let (mut live, mut managers) = by("a", &json!({"data": {"x": "1"}}));
        apply(
            &mut live,
            &mut managers,
            &json!({"data": {"x": "1"}}),
            "b",
            false,
            false,
        )
        .unwrap();
        apply(
            &mut live,
            &mut managers,
            &json!({"data": {"z": "3"}}),
            "a",
            false,
            false,
        )
        .unwrap();
        assert_eq!(live, json!({"data": {"x": "1", "z": "3"}}));
    }

    #[test]
    fn another_value_for_a_foreign_field_is_a_conflict_that_changes_nothing() {
        let (mut live, mut managers) = by("a", &json!({"data": {"x": "1"}}));
        let before = managers.clone();
        let conflict = apply(
            &mut live,
            &mut managers,
            &json!({"data": {"x": "2", "y": "3"}}),
            "b",
            false,
            false,
        )
        .unwrap_err();
        assert_eq!(
            conflict.fields,
            BTreeMap::from([("a".to_owned(), vec![".data.x".to_owned()])])
        );
        assert_eq!((live, managers), (json!({"data": {"x": "1"}}), before));
    }

    #[test]
    fn force_takes_a_field_over() {
        let (mut live, mut managers) = by("a", &json!({"data": {"x": "1"}}));
        apply(&mut live, &mut managers, &json!({"data": {"x": "2"}}), "b", true, false).unwrap();
        assert_eq!(live, json!({"data": {"x": "2"}}));
        assert_eq!(managers.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn containers_are_merged_by_name_and_plain_lists_are_one_value() {
        let (mut live, mut managers) = by("a", &json!({"containers": [{"name": "main", "args": ["1", "2"]}]}));
        let wanted = json!({"containers": [{"name": "side", "image": "s"}]});
        apply(&mut live, &mut managers, &wanted, "b", false, false).unwrap();
        let wanted = json!({"containers": [{"name": "main", "args": ["3"]}]});
        apply(&mut live, &mut managers, &wanted, "a", false, false).unwrap();
        assert_json_snapshot!(live, @r#"
        {
          "containers": [
            {
              "args": [
                "3"
              ],
              "name": "main"
            },
            {
              "image": "s",
              "name": "side"
            }
          ]
        }
        "#);
    }

    #[test]
    fn an_update_takes_what_it_changed_and_leaves_the_rest() {
        let (live, mut managers) = by("a", &json!({"data": {"x": "1", "y": "2"}}));
        updated(
            &mut managers,
            &live,
            &json!({"data": {"x": "5", "y": "2"}}),
            "kubectl-edit",
            false,
        );
        let mut live = json!({"data": {"x": "5", "y": "2"}});
        let conflict = apply(
            &mut live,
            &mut managers,
            &json!({"data": {"x": "1", "y": "3"}}),
            "a",
            false,
            false,
        )
        .unwrap_err();
        assert_eq!(
            conflict.fields,
            BTreeMap::from([("kubectl-edit".to_owned(), vec![".data.x".to_owned()])])
        );
    }
}
