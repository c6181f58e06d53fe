//! What several documents must agree on: names and dependencies.

use std::collections::{BTreeMap, BTreeSet};

use berth_engine::adapter::Of;

use super::{Loaded, Loading};
use crate::config::check::Check;

/// Refuses documents of one name, and dependencies that run in a circle.
pub(super) fn check(loading: &mut Loading) {
    refuse_duplicates(loading);
    refuse_circles(loading);
}

/// All documents of a name are refused: which one is meant is not ours to guess.
fn refuse_duplicates(loading: &mut Loading) {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for loaded in &loading.adapters {
        places
            .entry(loaded.adapter.name.clone())
            .or_default()
            .push(loaded.origin.place("metadata.name"));
    }
    refuse(loading, Check::NameOnce, |loaded| {
        let name = &loaded.adapter.name;
        let here = loaded.origin.place("metadata.name");
        let others: Vec<&String> = places
            .get(name)
            .into_iter()
            .flatten()
            .filter(|place| **place != here)
            .collect();
        let other = others.first()?;
        Some(loaded.origin.at(
            "metadata.name",
            format!("another document is named `{name}` too: {other}"),
            Some("an adapter's name is its identity in HyperFleet: rename or remove one".to_owned()),
        ))
    });
}

/// Only dependencies on the same subject can run in a circle: an owner is another resource.
fn refuse_circles(loading: &mut Loading) {
    let kinds: BTreeSet<String> = loading
        .adapters
        .iter()
        .flat_map(|loaded| loaded.adapter.subjects.iter().cloned())
        .collect();
    let mut circles: Vec<Vec<String>> = Vec::new();
    for kind in kinds {
        let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for loaded in loading
            .adapters
            .iter()
            .filter(|loaded| loaded.adapter.subjects.contains(&kind))
        {
            let same = loaded
                .adapter
                .depends_on
                .iter()
                .filter(|dependency| dependency.of == Of::Subject);
            edges.insert(
                loaded.adapter.name.clone(),
                same.map(|dependency| dependency.adapter.clone()).collect(),
            );
        }
        // Found one by one, so that two separate circles are both told.
        while let Some(circle) = circle(&edges) {
            for name in &circle {
                edges.remove(name);
            }
            circles.push(circle);
        }
    }
    refuse(loading, Check::DependencyOrder, |loaded| {
        let circle = circles.iter().find(|circle| circle.contains(&loaded.adapter.name))?;
        Some(loaded.origin.at(
            "spec.dependsOn",
            format!("adapters wait for each other: {}", circle.join(" -> ")),
            Some("remove one of these dependencies".to_owned()),
        ))
    });
}

fn refuse(loading: &mut Loading, check: Check, wrong: impl Fn(&Loaded) -> Option<crate::config::Problem>) {
    if check.is_removed() {
        return;
    }
    for loaded in std::mem::take(&mut loading.adapters) {
        match wrong(&loaded) {
            Some(problem) => loading.problems.push(problem),
            None => loading.adapters.push(loaded),
        }
    }
}

/// A circle in a graph, its first name repeated at its end.
pub(super) fn circle(edges: &BTreeMap<String, Vec<String>>) -> Option<Vec<String>> {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in edges.keys() {
        // Each entry is a name and how many of its edges have been followed.
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((name, followed)) = path.last().copied() {
            let next = edges.get(name).and_then(|targets| targets.get(followed));
            if let Some(last) = path.last_mut() {
                last.1 += 1;
            }
            match next {
                None => {
                    done.insert(name);
                    path.pop();
                }
                Some(target) => {
                    if let Some(begin) = path.iter().position(|(name, _)| name == target) {
                        let names = path[begin..].iter().map(|(name, _)| (*name).to_owned());
                        return Some(names.chain([target.clone()]).collect());
                    }
                    if !done.contains(target.as_str()) {
                        path.push((target, 0));
                    }
                }
            }
        }
    }
    None
}
