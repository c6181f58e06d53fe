//! What should exist?
//!
//! An object is planned in the part of the subject's life that it is meant for; the host removes what is not planned.
//! An object whose `when` is false, or reads a field that does not exist, is skipped: it is left as it is, absent or
//! present. In a deletion it is not planned instead, so that it is removed.
//!
//! In a manifest that is a map every text is rendered by itself and stays one text, whatever it contains: no value
//! can add to the manifest's structure. A map with the single key `expression` becomes the value of that expression,
//! typed; `optional.none()` leaves it out. A manifest that is a text is rendered as a whole and then read as YAML, so
//! that `if` and `range` work; there values should be put through `toJson` or `quote`.

use std::collections::HashSet;

use berth_sdk::{Facts, Failure, Manifest, Object, Operation};
use serde_json::Value as Json;

use super::{Missing, render};
use crate::{
    facts,
    fault::Fault,
    program::{self, Part, Resource},
    scene::{Scene, expression_failed},
    yaml,
};

/// Plans.
///
/// # Errors
/// When a manifest cannot be made, or an expression cannot be evaluated.
pub fn plan(part: &Part<Vec<Resource>>, facts: &Facts, objects: &[Object]) -> Result<Vec<Operation>, Failure> {
    let roots = facts::roots(&part.reads, facts, objects, None)?;
    let scene = Scene::new(&roots);
    let deleting = facts.subject.deleting;
    let mut operations = Vec::new();
    for resource in &part.steps {
        if !resource.during.includes(deleting) {
            continue;
        }
        match operation(resource, &scene)? {
            // In a deletion, what is skipped stays for ever. What is not wanted is left out, so that it is deleted.
            Operation::Skip { .. } if deleting => {}
            operation => operations.push(operation),
        }
    }
    // What is not applied cannot be waited for.
    let applied: HashSet<String> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Apply(manifest) => Some(manifest.name.clone()),
            Operation::Skip { .. } | Operation::Delete(_) | Operation::Discover(_) => None,
        })
        .collect();
    for operation in &mut operations {
        if let Operation::Apply(manifest) = operation {
            manifest.after.retain(|name| applied.contains(name));
        }
    }
    Ok(operations)
}

fn operation(resource: &Resource, scene: &Scene<'_>) -> Result<Operation, Failure> {
    let name = resource.name.clone();
    if let Some(when) = &resource.when {
        match when.holds(&scene.facts) {
            Ok(true) => {}
            Ok(false) => {
                return Ok(Operation::Skip {
                    name,
                    reason: format!("{} is false", when.source()),
                });
            }
            Err(fault @ Fault::Missing { .. }) => {
                return Ok(Operation::Skip {
                    name,
                    reason: fault.to_string(),
                });
            }
            Err(fault @ Fault::Broken { .. }) => return Err(expression_failed(&name, when.source(), &fault)),
        }
    }
    let document = manifest(&resource.manifest, scene).map_err(|(path, message)| {
        Failure::new(
            "ManifestFailed",
            format!("{name}: {path}: {message}. Correct the manifest."),
        )
    })?;
    let (recreate, after) = (resource.recreate, resource.after.clone());
    Ok(Operation::Apply(Manifest {
        name,
        document: document.into(),
        recreate,
        after,
    }))
}

fn manifest(manifest: &program::Manifest, scene: &Scene<'_>) -> Result<Json, (String, String)> {
    const PATH: &str = "manifest";
    match manifest {
        program::Manifest::Document(node) => match render(node, scene, PATH, Missing::Fail) {
            Ok(Some(document @ Json::Object(_))) => Ok(document),
            Ok(_) => Err((PATH.to_owned(), "it is not a map".to_owned())),
            Err((path, fault)) => Err((path, fault.to_string())),
        },
        program::Manifest::Yaml(template) => {
            let text = scene
                .render(template)
                .map_err(|fault| (PATH.to_owned(), fault.to_string()))?;
            yaml::object(&text).map_err(|message| (PATH.to_owned(), message))
        }
    }
}
