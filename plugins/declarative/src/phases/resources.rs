//! What should exist?
//!
//! An object is planned in the part of the subject's life that it is meant for; the host removes what is not planned.
//! An object whose `when` is false, or reads a field that does not exist, is skipped: it is left as it is.
//!
//! In a manifest that is a map every text is rendered by itself and stays one text, whatever it contains: no value
//! can add to the manifest's structure. A map with the single key `expression` becomes the value of that expression,
//! typed; `optional.none()` leaves it out. A manifest that is a text is rendered as a whole and then read as YAML, so
//! that `if` and `range` work; there values should be put through `toJson` or `quote`.

use std::collections::HashSet;

use serde_json::Value as Json;

use super::{Missing, render};
use crate::{
    answer::{Failure, Operation, Scene},
    facts::Facts,
    fault::Fault,
    program::{Manifest, Program, Resource},
    yaml,
};

/// Plans.
///
/// # Errors
/// When a manifest cannot be made, or an expression cannot be evaluated.
pub fn plan(program: &Program, facts: &Facts) -> Result<Vec<Operation>, Failure> {
    let roots = facts.roots();
    let scene = Scene::new(&roots);
    let mut operations = Vec::new();
    for resource in &program.resources {
        if resource.during.includes(facts.subject.deleting) {
            operations.push(operation(resource, &scene)?);
        }
    }
    // What is not applied cannot be waited for.
    let applied: HashSet<String> = operations
        .iter()
        .filter_map(|operation| match operation {
            Operation::Apply { name, .. } => Some(name.clone()),
            Operation::Skip { .. } => None,
        })
        .collect();
    for operation in &mut operations {
        if let Operation::Apply { after, .. } = operation {
            after.retain(|name| applied.contains(name));
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
            Err(fault @ Fault::Broken { .. }) => return Err(Failure::expression(&name, when.source(), &fault)),
        }
    }
    let document = manifest(&resource.manifest, scene).map_err(|(path, message)| Failure {
        reason: "ManifestFailed".to_owned(),
        message: format!("{name}: {path}: {message}. Correct the manifest."),
    })?;
    Ok(Operation::Apply {
        name,
        document,
        recreate: resource.recreate,
        after: resource.after.clone(),
    })
}

fn manifest(manifest: &Manifest, scene: &Scene<'_>) -> Result<Json, (String, String)> {
    const PATH: &str = "manifest";
    match manifest {
        Manifest::Document(node) => match render(node, scene, PATH, Missing::Fail) {
            Ok(Some(document @ Json::Object(_))) => Ok(document),
            Ok(_) => Err((PATH.to_owned(), "it is not a map".to_owned())),
            Err((path, fault)) => Err((path, fault.to_string())),
        },
        Manifest::Yaml(template) => {
            let text = scene
                .render(template)
                .map_err(|fault| (PATH.to_owned(), fault.to_string()))?;
            yaml::object(&text).map_err(|message| (PATH.to_owned(), message))
        }
    }
}
