//! The objects that set a landing zone up.

use berth_sdk::{Facts, Manifest, Operation};
use serde_json::json;

use crate::config::{Config, Spec};

/// The Job's name in the plan.
pub(crate) const JOB: &str = "job";
/// The ConfigMap's name in the plan.
pub(crate) const PARAMETERS: &str = "parameters";

/// The landing zone's name, which its objects have too.
pub(crate) fn zone(subject: &str) -> String {
    format!("lz-{}", subject.to_lowercase())
}

/// What to apply: the parameters, then the Job.
pub(crate) fn operations(facts: &Facts, config: &Config, spec: &Spec) -> Vec<Operation> {
    let name = zone(&facts.subject.id);
    let cidr = spec.network_cidr.as_deref().unwrap_or("10.0.0.0/16");
    let mut annotations = config.job_annotations.clone();
    annotations.extend(spec.job_annotations.clone());
    let parameters = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"region": spec.region, "networkCidr": cidr},
    });
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "backoffLimit": config.retries,
            "template": {
                "metadata": {"annotations": annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "landing-zone",
                        "image": config.image,
                        "args": [
                            format!("--cluster={}", facts.subject.id),
                            format!("--region={}", spec.region),
                            format!("--network-cidr={cidr}"),
                        ],
                        "envFrom": [{"configMapRef": {"name": name}}],
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                    }],
                },
            },
        },
    });
    vec![
        Manifest::new(PARAMETERS, parameters).into(),
        Manifest::new(JOB, job).after(PARAMETERS).into(),
    ]
}
