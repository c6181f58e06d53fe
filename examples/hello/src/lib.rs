//! Says hello to every cluster in a region that is served, by a Job.

use std::collections::BTreeMap;

use berth_sdk::{
    Answer, Condition, Draft, Facts, Failure, Manifest, Object, Outcome, Plan, Postconditions, Preconditions,
    Resources, Status, StatusAnswer, StatusReport, Verdict,
};
use serde::Deserialize;
use serde_json::{Value, json};

/// The Job's name in the plan.
const JOB: &str = "greeting";

/// The plugin.
#[derive(Debug)]
pub struct Hello;

berth_sdk::plugin!(Hello: preconditions, resources, postconditions, status);

/// What the adapter document says under `config`.
#[derive(Deserialize)]
struct Config {
    regions: Vec<String>,
}

/// What is read of the cluster's `spec`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    region: String,
    #[serde(default)]
    job_annotations: BTreeMap<String, String>,
}

impl Preconditions for Hello {
    fn preconditions(facts: &Facts) -> Result<Answer<Verdict>, Failure> {
        let config: Config = facts.config.read()?;
        let spec: Spec = facts.subject.spec()?;
        Ok(if config.regions.contains(&spec.region) {
            Verdict::Proceed.into()
        } else {
            Verdict::wait("region", format!("region {} is not served", spec.region)).into()
        })
    }
}

impl Resources for Hello {
    fn resources(facts: &Facts, _objects: &[Object]) -> Result<Answer<Plan>, Failure> {
        // What a plan does not mention is deleted: this is all that a deletion needs.
        if facts.subject.deleting {
            return Ok(Plan::default().into());
        }
        let spec: Spec = facts.subject.spec()?;
        let job = json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": format!("hello-{}", facts.subject.id)},
            "spec": {"backoffLimit": 1, "template": {
                "metadata": {"annotations": spec.job_annotations},
                "spec": {
                    "restartPolicy": "Never",
                    "containers": [{
                        "name": "hello",
                        "image": "registry.k8s.io/e2e-test-images/busybox:1.29-4",
                        "args": ["echo", format!("Hello, {}!", spec.region)],
                    }],
                },
            }},
        });
        let card = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": format!("hello-{}", facts.subject.id)},
            "data": {"region": spec.region},
        });
        Ok(Plan::last(vec![
            Manifest::new("card", card).into(),
            Manifest::new(JOB, job).after("card").into(),
        ])
        .into())
    }
}

impl Postconditions for Hello {
    fn postconditions(_facts: &Facts, objects: &[Object]) -> Result<Answer<Outcome>, Failure> {
        let Some(job) = objects.iter().find(|object| object.name == JOB) else {
            return Ok(Outcome::pending("the Job does not exist yet").into());
        };
        let document: Value = job.document.read()?;
        let holds = |kind: &str| {
            let conditions = document["status"]["conditions"].as_array();
            conditions
                .into_iter()
                .flatten()
                .any(|one| one["type"] == kind && one["status"] == "True")
        };
        Ok(if holds("Complete") {
            Outcome::Achieved
        } else if holds("Failed") {
            let said = job
                .diagnosis
                .as_ref()
                .map_or("no details", |diagnosis| diagnosis.message.as_str());
            Outcome::Failed(Failure::new("GreetingFailed", format!("Nobody was greeted: {said}")))
        } else {
            Outcome::pending("the greeting is being said")
        }
        .into())
    }
}

impl Status for Hello {
    fn status(_facts: &Facts, _objects: &[Object], draft: &Draft) -> Result<StatusAnswer, Failure> {
        let said = draft.journey == "achieved";
        let reason = if said { "GreetingSaid" } else { "GreetingNotSaid" };
        let condition = Condition::new("Greeted", said, reason, format!("The journey is {}.", draft.journey));
        // The host adds `Applied`, `Available` and `Health`; this plugin has nothing to lower in them.
        Ok(StatusReport {
            conditions: vec![condition],
            data: json!({"greeted": said}).into(),
        }
        .into())
    }
}
