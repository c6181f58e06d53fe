//! Where a subject has objects, whatever the document says now.
//!
//! What a document names is looked at anyway. What an earlier document made, of a kind or in a
//! namespace that it no longer names, is found because our own row remembers the place: under
//! `data.berth.kinds`, as `apps/v1 Deployment work`, or `v1 Namespace` where there is no namespace.
//!
//! # Guarantees
//! - A place is remembered before anything is written there, and until a list shows that nothing is left.
//! - What is remembered is sorted, and at most [`MANY`] entries long, or one for each kind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    contract::{AdapterStatus, Reference},
    effect::{KindScope, Observed},
};

/// How many places are remembered one by one. Beyond, the namespaces of the kind that has most of
/// them become one place: all namespaces.
const MANY: usize = 100;

/// Kinds with the namespaces in which there may be objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Places(BTreeSet<KindScope>);

impl Places {
    /// As our stored row remembers them, of whatever generation it is.
    pub(super) fn of_row(row: Option<&AdapterStatus>) -> Self {
        let told = row.and_then(|row| row.data["berth"]["kinds"].as_array());
        let places = told.into_iter().flatten().filter_map(|one| read(one.as_str()?));
        Self(places.collect())
    }

    /// Where these are.
    pub(super) fn of(observed: &[Observed]) -> Self {
        let mut places = Self::default();
        for one in observed {
            places.add(&one.reference);
        }
        places
    }

    /// Remembers that there may be this object.
    pub(super) fn add(&mut self, object: &Reference) {
        self.0.insert(KindScope {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
        });
    }

    /// What the document names, and after it what only is remembered.
    pub(super) fn beside(&self, mut named: Vec<KindScope>) -> Vec<KindScope> {
        let covers = |wide: &KindScope, one: &KindScope| {
            wide.api_version == one.api_version
                && wide.kind == one.kind
                && (wide.namespace.is_none() || wide.namespace == one.namespace)
        };
        for one in &self.0 {
            if !named.iter().any(|wide| covers(wide, one)) {
                named.push(one.clone());
            }
        }
        named
    }

    /// What the row is to remember; none where there is nothing.
    pub(super) fn told(&self) -> Option<Value> {
        let mut places = self.0.clone();
        while places.len() > MANY {
            let mut spread: BTreeMap<(&str, &str), usize> = BTreeMap::new();
            for one in &places {
                *spread.entry((&one.api_version, &one.kind)).or_default() += 1;
            }
            let widest = spread.into_iter().max_by_key(|(_, namespaces)| *namespaces);
            let Some(((api_version, kind), 2..)) = widest else {
                break;
            };
            let everywhere = KindScope {
                api_version: api_version.to_owned(),
                kind: kind.to_owned(),
                namespace: None,
            };
            places.retain(|one| one.api_version != everywhere.api_version || one.kind != everywhere.kind);
            places.insert(everywhere);
        }
        let told: Vec<Value> = places.iter().map(|one| Value::from(written(one))).collect();
        (!told.is_empty()).then(|| Value::from(told))
    }
}

fn written(place: &KindScope) -> String {
    let KindScope {
        api_version,
        kind,
        namespace,
    } = place;
    match namespace {
        Some(namespace) => format!("{api_version} {kind} {namespace}"),
        None => format!("{api_version} {kind}"),
    }
}

fn read(text: &str) -> Option<KindScope> {
    let mut words = text.split(' ').map(str::to_owned);
    let place = KindScope {
        api_version: words.next()?,
        kind: words.next()?,
        namespace: words.next(),
    };
    words.next().is_none().then_some(place)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(api_version: &str, kind: &str, namespace: Option<&str>) -> KindScope {
        KindScope {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
        }
    }

    fn row(data: Value) -> AdapterStatus {
        AdapterStatus {
            adapter: "lz".to_owned(),
            observed_generation: 1,
            conditions: Vec::new(),
            data,
            last_report_time: String::new(),
        }
    }

    #[test]
    fn what_a_row_is_told_is_read_from_it_again() {
        let places = Places(BTreeSet::from([
            place("v1", "Namespace", None),
            place("batch/v1", "Job", Some("work")),
        ]));
        let told = places.told();
        assert_eq!(told, Some(json!(["batch/v1 Job work", "v1 Namespace"])));
        let row = row(json!({"berth": {"kinds": told}}));
        assert_eq!(Places::of_row(Some(&row)), places);
        assert_eq!(Places::default().told(), None);
    }

    #[test]
    fn what_is_no_place_is_no_place() {
        for data in [
            json!(null),
            json!({"berth": {"kinds": "v1 Secret"}}),
            json!({"berth": {"kinds": ["v1", 7, "", "v1 Secret a b"]}}),
        ] {
            assert_eq!(Places::of_row(Some(&row(data))), Places::default());
        }
        assert_eq!(Places::of_row(None), Places::default());
    }

    #[test]
    fn what_the_document_names_comes_first_and_is_not_looked_at_twice() {
        let places = Places(BTreeSet::from([
            place("apps/v1", "Deployment", Some("work")),
            place("batch/v1", "Job", Some("old")),
            place("batch/v1", "Job", Some("work")),
            place("v1", "Secret", Some("there")),
        ]));
        let named = vec![place("v1", "Secret", None), place("batch/v1", "Job", Some("work"))];
        let all = places.beside(named.clone());
        assert_eq!(all[..2], named);
        assert_eq!(
            all[2..],
            [
                place("apps/v1", "Deployment", Some("work")),
                place("batch/v1", "Job", Some("old"))
            ]
        );
    }

    #[test]
    fn many_namespaces_of_one_kind_become_all_and_nothing_is_forgotten() {
        let namespaces = (0..MANY).map(|number| format!("n{number:03}"));
        let mut places: BTreeSet<KindScope> = namespaces.map(|one| place("v1", "Secret", Some(&one))).collect();
        places.insert(place("batch/v1", "Job", Some("a")));
        places.insert(place("batch/v1", "Job", Some("b")));
        let told = Places(places).told();
        assert_eq!(told, Some(json!(["batch/v1 Job a", "batch/v1 Job b", "v1 Secret"])));

        // As many kinds as that are each remembered.
        let kinds = (0..=MANY).map(|number| place("v1", &format!("K{number:03}"), Some("n")));
        let told = Places(kinds.collect()).told();
        assert_eq!(told.as_ref().and_then(Value::as_array).map(Vec::len), Some(MANY + 1));
    }
}
