//! What the adapter decides, told without a host.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test may fail by panicking")]

use berth_sdk::{
    Condition, Diagnosis, Draft, Facts, Json, Object, Operation, Outcome, Postconditions, Preconditions, RawSetup,
    Resources, Status, Truth, Verdict, cluster, testing, testing::Fake,
};
use landing_zone::LandingZone;
use serde_json::{Value, json};

fn config() -> Value {
    json!({
        "provider": "gcp", "regions": ["europe-west1"], "image": "registry.example.com/lz:1",
        "quota": {"namespace": "tenants", "name": "landing-zone-quota"},
        "jobAnnotations": {"from": "config", "kept": "yes"},
    })
}

fn facts(spec: Value) -> Facts {
    let facts = testing::facts(json!({"kind": "Cluster", "id": "C-1", "generation": 3, "spec": spec}));
    Facts {
        prepared: LandingZone::prepare_raw(&config().into()).unwrap(),
        ..facts
    }
}

fn in_europe() -> Facts {
    facts(json!({"provider": "gcp", "region": "europe-west1"}))
}

fn quota(data: Value) -> Fake {
    Fake::new().object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "landing-zone-quota", "namespace": "tenants"}, "data": data,
    }))
}

fn verdict(fake: Fake, facts: &Facts) -> Verdict {
    fake.run(|| LandingZone::preconditions(facts)).0.unwrap().value
}

fn job(condition: &str, exit_code: Option<i32>, termination_message: Option<&str>) -> Object {
    Object {
        name: "job".into(),
        generation: 3,
        document:
            json!({"status": {"conditions": [{"type": condition, "status": "True", "message": "backoff limit"}]}})
                .into(),
        diagnosis: Some(Diagnosis {
            exit_code,
            termination_message: termination_message.map(str::to_owned),
            attempt: Some(2),
            ..Diagnosis::default()
        }),
    }
}

fn outcome(job: Object) -> Outcome {
    LandingZone::postconditions(&in_europe(), &[job]).unwrap().value
}

#[test]
fn every_problem_of_a_configuration_is_told() {
    let problems =
        LandingZone::prepare_raw(&json!({"provider": "", "regions": ["a", " "], "image": ""}).into()).unwrap_err();
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["provider", "regions[1]", "image"]);
}

#[test]
fn an_unknown_key_of_a_configuration_is_refused() {
    let problems = LandingZone::prepare_raw(&json!({"provider": "gcp", "region": "x"}).into()).unwrap_err();
    assert!(
        problems[0].message.starts_with("unknown field `region`"),
        "{problems:?}"
    );
}

#[test]
fn another_provider_is_not_applicable() {
    let facts = facts(json!({"provider": "aws", "region": "europe-west1"}));
    let why = "the provider is aws, and landing zones are made for gcp only";
    assert_eq!(verdict(Fake::new(), &facts), Verdict::NotApplicable(why.into()));
}

#[test]
fn a_region_that_is_not_served_is_waited_for() {
    let facts = facts(json!({"provider": "gcp", "region": "mars"}));
    let message = "region mars is not served; served are europe-west1";
    assert_eq!(verdict(Fake::new(), &facts), Verdict::wait("region", message));
}

#[test]
fn a_regions_own_quota_goes_before_the_total() {
    let full = quota(json!({"europe-west1": "0", "total": "5"}));
    let message = "the quota of europe-west1 has room for 0 landing zones, and 1 is needed";
    assert_eq!(verdict(full, &in_europe()), Verdict::wait("quota", message));
    assert_eq!(verdict(quota(json!({"total": "1"})), &in_europe()), Verdict::Proceed);
}

#[test]
fn a_missing_quota_is_waited_for() {
    let message = "ConfigMap tenants/landing-zone-quota, which states the quota, does not exist";
    assert_eq!(
        verdict(Fake::new().empty_cluster(), &in_europe()),
        Verdict::wait("quota", message)
    );
}

#[test]
fn a_quota_that_may_not_be_read_is_a_failure() {
    let fake = Fake::new().cluster_error(cluster::Error::Unavailable("timeout".into()));
    let (answer, _) = fake.run(|| LandingZone::preconditions(&in_europe()));
    assert_eq!(answer.unwrap_err().reason, "ClusterUnavailable");
    assert_eq!(
        LandingZone::preconditions(&in_europe()).unwrap_err().reason,
        "ClusterReadDenied"
    );
    let (answer, _) = quota(json!({"total": "many"})).run(|| LandingZone::preconditions(&in_europe()));
    assert_eq!(answer.unwrap_err().reason, "QuotaUnreadable");
}

#[test]
fn a_zone_that_was_made_waits_for_no_quota() {
    let own = berth_sdk::AdapterStatus {
        adapter: "test".into(),
        conditions: vec![Condition::new("Applied", true, "ResourcesCreated", "")],
        ..Default::default()
    };
    let facts = Facts {
        statuses: vec![own],
        ..in_europe()
    };
    assert_eq!(verdict(quota(json!({"total": "0"})), &facts), Verdict::Proceed);
}

#[test]
fn the_plan_is_the_parameters_and_then_the_job() {
    let facts = facts(json!({
        "provider": "gcp", "region": "europe-west1", "networkCidr": "10.8.0.0/16", "jobAnnotations": {"from": "spec"},
    }));
    let plan = LandingZone::resources(&facts, &[]).unwrap().value;
    let [Operation::Apply(parameters), Operation::Apply(job)] = &plan.operations[..] else {
        panic!("{plan:?}");
    };
    assert_eq!(
        (plan.more, parameters.name.as_str(), &job.after),
        (false, "parameters", &vec!["parameters".to_owned()])
    );
    let job: Value = job.document.read().unwrap();
    assert_eq!(
        job["metadata"],
        json!({"name": "lz-c-1", "annotations": {"from": "spec", "kept": "yes"}})
    );
    let args = &job["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(
        args,
        &json!(["--cluster=C-1", "--region=europe-west1", "--network-cidr=10.8.0.0/16"])
    );
}

#[test]
fn nothing_is_planned_in_a_deletion() {
    let mut facts = in_europe();
    facts.subject.deleting = true;
    assert_eq!(LandingZone::resources(&facts, &[]).unwrap().value.operations, []);
}

#[test]
fn an_exit_code_becomes_what_a_user_can_do() {
    let reason = |code| match outcome(job("Failed", Some(code), Some("said the cloud"))) {
        Outcome::Failed(failure) => (failure.reason, failure.message.contains("said the cloud")),
        other @ (Outcome::Pending { .. } | Outcome::Achieved) => panic!("{other:?}"),
    };
    assert_eq!(reason(10), ("CredentialsRejected".into(), true));
    assert_eq!(reason(11), ("RegionNotEnabled".into(), true));
    assert_eq!(reason(12), ("NetworkRangeOverlaps".into(), true));
    assert_eq!(reason(137), ("LandingZoneFailed".into(), true));
}

#[test]
fn without_a_termination_message_the_jobs_own_is_told() {
    let message = "The landing zone could not be set up: backoff limit";
    let failure = berth_sdk::Failure::new("LandingZoneFailed", message);
    assert_eq!(outcome(job("Failed", None, Some(" "))), Outcome::Failed(failure));
}

#[test]
fn a_job_is_achieved_when_it_is_complete_and_pending_before() {
    assert_eq!(outcome(job("Complete", Some(0), None)), Outcome::Achieved);
    let retried = job("Suspended", Some(10), None);
    assert_eq!(
        outcome(retried),
        Outcome::pending("the landing zone is being set up, attempt 2")
    );
    let nothing = LandingZone::postconditions(&in_europe(), &[]).unwrap().value;
    assert_eq!(nothing, Outcome::pending("the Job does not exist yet"));
}

#[test]
fn the_network_is_ready_when_the_work_is_achieved() {
    let ready = |journey: &str, carry: Value| {
        let facts = Facts {
            carry: Json::from(carry),
            ..in_europe()
        };
        let draft = Draft {
            journey: journey.into(),
            ..Draft::default()
        };
        let report = LandingZone::status(&facts, &[], &draft).unwrap().report.unwrap();
        let condition = report.conditions.last().unwrap().clone();
        (condition.kind, condition.status, condition.reason)
    };
    assert_eq!(
        ready("achieved", Value::Null),
        ("NetworkReady".into(), Truth::True, "LandingZoneReady".into())
    );
    let failed = ready("work-failed", json!({"exit_code": 12}));
    assert_eq!(
        failed,
        ("NetworkReady".into(), Truth::False, "NetworkRangeOverlaps".into())
    );
    assert_eq!(
        ready("waiting", Value::Null),
        ("NetworkReady".into(), Truth::False, "NotReady".into())
    );
}
