//! The plugin's decisions, tested natively: no WebAssembly, no cluster.

use berth_sdk::{Facts, Operation, Preconditions, Resources, Verdict, testing};
use hello::Hello;
use serde_json::{Value, json};

fn cluster(region: &str) -> Facts {
    Facts {
        config: json!({"regions": ["europe-west1"]}).into(),
        ..testing::facts(json!({"kind": "Cluster", "id": "c1", "generation": 1, "spec": {"region": region}}))
    }
}

#[test]
fn a_region_that_is_not_served_is_waited_for() {
    let verdict = Hello::preconditions(&cluster("mars")).unwrap().value;
    assert_eq!(verdict, Verdict::wait("region", "region mars is not served"));
}

#[test]
fn the_job_greets_the_region() {
    let plan = Hello::resources(&cluster("europe-west1"), &[]).unwrap().value;
    let [_, Operation::Apply(manifest)] = plan.operations.as_slice() else {
        panic!("{plan:?}")
    };
    let job: Value = manifest.document.read().unwrap();
    assert_eq!(job["metadata"]["name"], "hello-c1");
    assert_eq!(
        job["spec"]["template"]["spec"]["containers"][0]["args"],
        json!(["echo", "Hello, europe-west1!"])
    );
}
