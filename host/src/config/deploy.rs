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

/// The container of the Deployment, and its volumes.
fn pod() -> (serde_json::Value, serde_json::Value) {
    let documents = yaml::parse(&std::fs::read_to_string(deploy("berth.yaml")).unwrap()).unwrap();
    let deployment = documents
        .iter()
        .map(yaml::Node::to_json)
        .find(|document| document["kind"] == "Deployment")
        .unwrap();
    let spec = &deployment["spec"]["template"]["spec"];
    (spec["containers"][0].clone(), spec["volumes"].clone())
}

#[test]
fn both_caches_fit_their_volume() {
    let file = deploy("berth-config/berth.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let (settings, _) = host::load(&host::Written {
        file: Some((&file, &text)),
        variables: &[("HOSTNAME".to_owned(), "berth-0".to_owned())],
        ..host::Written::default()
    })
    .unwrap();
    let (container, volumes) = pod();
    let named = |list: &serde_json::Value, key: &str, value: &str| {
        let mut items = list.as_array().unwrap().iter();
        items.find(|item| item[key] == value).unwrap().clone()
    };
    let mount = named(&container["volumeMounts"], "mountPath", "/var/cache/berth");
    assert!(settings.cache.unwrap().starts_with("/var/cache/berth"));
    // Verified plugins are in a folder below.
    assert_eq!(settings.registries.cache, None);
    let volume = named(&volumes, "name", mount["name"].as_str().unwrap());
    let limit = volume["emptyDir"]["sizeLimit"].as_str().unwrap();
    let limit = super::units::size(&format!("{limit}B")).unwrap();
    // A plugin and its code are written aside before anything is removed for them.
    let writing = 3 * settings.registries.max_size;
    let needed = settings.cache_size + settings.registries.cache_size + writing;
    assert!(needed <= limit, "{needed} bytes do not fit {limit}");
}

#[test]
fn a_slow_start_is_told_from_a_host_that_hangs() {
    let (container, _) = pod();
    let probes = ["startupProbe", "livenessProbe", "readinessProbe"];
    let paths = probes.map(|probe| container[probe]["httpGet"]["path"].as_str().unwrap().to_owned());
    assert_eq!(paths, ["/healthz", "/healthz", "/readyz"]);
    let startup = &container["startupProbe"];
    let patience = startup["periodSeconds"].as_u64().unwrap() * startup["failureThreshold"].as_u64().unwrap();
    assert!(patience >= 60, "{startup}");
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
