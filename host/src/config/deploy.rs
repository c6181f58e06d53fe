//! What is deployed must be what this code reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, path::PathBuf};

use super::{document, host, yaml};

fn deploy(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file)
}

#[test]
fn the_deployed_configuration_and_documents_are_good() {
    let file = deploy("berth-config/berth.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let pod = [("HOSTNAME".to_owned(), "berth-0".to_owned())];
    let (settings, _) = host::load(&host::Written {
        file: Some((&file, &text)),
        variables: &pod,
        ..host::Written::default()
    })
    .unwrap();
    let loaded = document::load_folder(&deploy("berth-config/adapters"), &settings.limits.plugins)
        .strict()
        .unwrap();
    assert_eq!(loaded.len(), 1);
    let leases = settings.leases.unwrap();
    let rabbitmq = settings.sources.rabbitmq.unwrap();
    assert_eq!(
        rabbitmq.url,
        host::Place::File(PathBuf::from("/var/run/secrets/berth/rabbitmq"))
    );
    assert_eq!((leases.namespace.as_str(), leases.host.as_str()), ("berth", "berth-0"));
}

#[test]
fn the_manifests_are_objects() {
    let documents = yaml::parse(&std::fs::read_to_string(deploy("berth.yaml")).unwrap()).unwrap();
    let kinds: Vec<String> = documents
        .iter()
        .map(|node| node.get("kind").unwrap().to_json().as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        kinds,
        [
            "Namespace",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "Namespace",
            "Role",
            "RoleBinding",
            "Deployment",
            "PodDisruptionBudget",
            "Service",
            "NetworkPolicy"
        ]
    );
}

#[test]
fn alerts_ask_for_metrics_that_exist() {
    let text = std::fs::read_to_string(deploy("alerts.yaml")).unwrap();
    let rules = yaml::parse(&text).unwrap().remove(0).to_json();
    let expressions: Vec<&str> = rules["spec"]["groups"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| rule["expr"].as_str().unwrap())
        .collect();
    let asked: BTreeSet<&str> = expressions
        .iter()
        .flat_map(|expression| expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_'))
        .filter(|word| word.starts_with("berth_"))
        .collect();
    let known = crate::telemetry::sampled().encode().unwrap();
    assert!(asked.len() >= 5);
    for name in asked {
        let family = name
            .strip_suffix("_total")
            .or_else(|| name.strip_suffix("_info"))
            .unwrap_or(name);
        assert!(known.contains(&format!("# TYPE {family} ")), "{name} does not exist");
    }
}
