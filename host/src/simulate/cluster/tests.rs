//! What the simulation does beyond the contract that it shares with the real cluster.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use berth_engine::{
    contract::{Query, Selector},
    effect::{ClusterCause, Expect},
};
use insta::{assert_json_snapshot, assert_snapshot};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

struct World {
    kubernetes: Kubernetes,
    clock: VirtualClock,
}

impl World {
    fn new() -> Self {
        let clock = VirtualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let kubernetes = Kubernetes::new(clock.clone());
        kubernetes.namespace("n");
        Self { kubernetes, clock }
    }

    fn pass(&self, time: Duration) {
        self.kubernetes.advance(&self.clock, time);
    }

    fn job(&self, name: &str, image: &str, spec: Value) {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": "n"}, "spec": spec,
        });
        document::default(
            &mut job,
            &["spec", "template", "spec"],
            json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}),
        );
        self.kubernetes.create("kubectl", job).unwrap();
    }

    fn deployment(&self, name: &str, image: &str, replicas: u32) {
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "n"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]},
                },
            },
        });
        self.kubernetes.create("kubectl", deployment).unwrap();
    }

    fn object(&self, kind: &str, name: &str) -> Value {
        self.kubernetes.object(&reference(kind, name)).unwrap()
    }

    fn status(&self, kind: &str, name: &str) -> Value {
        self.object(kind, name)["status"].clone()
    }

    /// Phases of the pods, with what their first container waits for or how it ended.
    fn pods(&self) -> Vec<String> {
        let pods = self.kubernetes.objects("v1", "Pod", Some("n"));
        let told = pods.iter().map(|pod| {
            let state = &pod["status"]["containerStatuses"][0]["state"];
            let reason = state["waiting"]["reason"]
                .as_str()
                .or(state["terminated"]["reason"].as_str());
            let scheduled = document::condition(pod, "PodScheduled").map(|condition| condition["reason"].clone());
            let unscheduled = scheduled.as_ref().and_then(Value::as_str);
            let phase = pod["status"]["phase"].as_str().unwrap();
            reason
                .or(unscheduled)
                .map_or_else(|| phase.to_owned(), |reason| format!("{phase} {reason}"))
        });
        told.collect()
    }

    /// Reasons and messages of warnings, with their counts.
    fn warnings(&self) -> String {
        let events = self.kubernetes.events("n");
        let warnings = events.iter().filter(|event| event["type"] == "Warning");
        warnings
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap().to_owned();
                format!("{} x{}: {}\n", text("reason"), event["count"], text("message"))
            })
            .collect()
    }
}

fn reference(kind: &str, name: &str) -> Reference {
    let (api_version, namespace) = match kind {
        "Job" => ("batch/v1", Some("n")),
        "Deployment" | "ReplicaSet" => ("apps/v1", Some("n")),
        "Namespace" | "Node" => ("v1", None),
        _ => ("v1", Some("n")),
    };
    Reference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

fn truths(status: &Value) -> Vec<String> {
    let conditions = status["conditions"].as_array().unwrap();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    conditions
        .iter()
        .map(|condition| {
            format!(
                "{}={} {}",
                text(condition, "type"),
                text(condition, "status"),
                text(condition, "reason")
            )
        })
        .collect()
}

#[test]
fn a_job_runs_its_course_in_virtual_time() {
    let world = World::new();
    world.job("j", "image", json!({}));
    assert_eq!(world.pods(), [""; 0]);
    world.pass(Duration::from_millis(100));
    assert_eq!(world.pods(), ["Pending"]);
    world.pass(Duration::from_millis(400));
    assert_eq!(world.pods(), ["Running"]);
    world.pass(SECOND);
    assert_eq!(world.pods(), ["Succeeded Completed"]);
    assert_json_snapshot!(world.status("Job", "j"), @r#"
    {
      "completionTime": "2026-01-01T00:00:01Z",
      "conditions": [
        {
          "lastTransitionTime": "2026-01-01T00:00:01Z",
          "message": "Reached expected number of succeeded pods",
          "reason": "CompletionsReached",
          "status": "True",
          "type": "SuccessCriteriaMet"
        },
        {
          "lastTransitionTime": "2026-01-01T00:00:01Z",
          "message": "Reached expected number of succeeded pods",
          "reason": "CompletionsReached",
          "status": "True",
          "type": "Complete"
        }
      ],
      "ready": 0,
      "startTime": "2026-01-01T00:00:00Z",
      "succeeded": 1
    }
    "#);
    assert_eq!(world.kubernetes.next_due(), None);
}

#[test]
fn the_same_calls_give_the_same_cluster() {
    let run = || {
        let world = World::new();
        world.job("j", "image", json!({"backoffLimit": 2}));
        world.kubernetes.image(
            "image",
            ImageBehaviour::ExitsWith {
                code: 2,
                message: "no".to_owned(),
                after: SECOND,
            },
        );
        world.pass(100 * SECOND);
        (
            world.kubernetes.objects("v1", "Pod", None),
            world.kubernetes.events("n"),
            world.object("Job", "j"),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn a_failing_job_pauses_longer_each_time_and_gives_up_at_its_limit() {
    let world = World::new();
    let fails = ImageBehaviour::ExitsWith {
        code: 2,
        message: "no such project".to_owned(),
        after: SECOND,
    };
    world.kubernetes.image("image", fails);
    world.job("j", "image", json!({"backoffLimit": 2}));
    let mut started = Vec::new();
    for second in 0..60 {
        let pods = world.pods().len();
        if started.len() < pods {
            started.push(second);
        }
        world.pass(SECOND);
    }
    assert_eq!(started, [1, 12, 33]);
    let status = world.status("Job", "j");
    assert_eq!((&status["failed"], status.get("active")), (&json!(3), None));
    assert_eq!(
        truths(&status),
        [
            "FailureTarget=True BackoffLimitExceeded",
            "Failed=True BackoffLimitExceeded"
        ]
    );
    assert_snapshot!(world.warnings(), @r#"BackoffLimitExceeded x1: Job has reached the specified backoff limit"#);
}

#[test]
fn a_container_that_is_restarted_in_place_crashes_in_a_loop_until_its_job_gives_up() {
    let world = World::new();
    world
        .kubernetes
        .image("image", ImageBehaviour::OutOfMemory { after: SECOND });
    let pod = json!({"restartPolicy": "OnFailure", "containers": [{"name": "main", "image": "image"}]});
    world.job("j", "image", json!({"backoffLimit": 2, "template": {"spec": pod}}));
    world.pass(2 * SECOND);
    assert_eq!(world.pods(), ["Running CrashLoopBackOff"]);
    world.pass(60 * SECOND);
    assert_eq!(
        truths(&world.status("Job", "j")),
        [
            "FailureTarget=True BackoffLimitExceeded",
            "Failed=True BackoffLimitExceeded"
        ]
    );
}

#[test]
fn a_job_beyond_its_deadline_loses_its_pod() {
    let world = World::new();
    world.kubernetes.image("image", ImageBehaviour::Runs);
    world.job("j", "image", json!({"activeDeadlineSeconds": 5}));
    world.pass(4 * SECOND);
    assert_eq!(world.pods(), ["Running"]);
    world.pass(4 * SECOND);
    assert_eq!(world.pods(), [""; 0]);
    let conditions = truths(&world.status("Job", "j"));
    assert_eq!(
        conditions,
        ["FailureTarget=True DeadlineExceeded", "Failed=True DeadlineExceeded"]
    );
}

#[test]
fn a_finished_job_goes_with_its_pods_when_its_time_to_live_is_over() {
    let world = World::new();
    world.job("j", "image", json!({"ttlSecondsAfterFinished": 10}));
    world.pass(5 * SECOND);
    assert_eq!(
        truths(&world.status("Job", "j")),
        [
            "SuccessCriteriaMet=True CompletionsReached",
            "Complete=True CompletionsReached"
        ]
    );
    world.pass(10 * SECOND);
    assert_eq!(world.kubernetes.object(&reference("Job", "j")), None);
    assert_eq!(world.pods(), [""; 0]);
}

#[test]
fn a_missing_image_backs_off_until_it_is_there() {
    let world = World::new();
    world.kubernetes.image("image", ImageBehaviour::Missing);
    world.job("j", "image", json!({}));
    world.pass(Duration::from_millis(400));
    assert_eq!(world.pods(), ["Pending ErrImagePull"]);
    world.pass(SECOND);
    assert_eq!(world.pods(), ["Pending ImagePullBackOff"]);
    assert_snapshot!(world.warnings(), @r#"
    Failed x1: Failed to pull image "image": rpc error: code = NotFound desc = failed to pull and unpack image "image": not found
    Failed x1: Error: ErrImagePull
    Failed x1: Error: ImagePullBackOff
    "#);
    world.pass(Duration::from_millis(9350));
    assert_eq!(world.pods(), ["Pending ErrImagePull"], "it is tried again");
    world.pass(SECOND);
    assert_eq!(world.pods(), ["Pending ImagePullBackOff"]);
    world.kubernetes.image("image", ImageBehaviour::Runs);
    world.pass(15 * SECOND);
    assert_eq!(world.pods(), ["Running"]);
}

#[test]
fn a_container_waits_for_the_secret_that_it_refers_to() {
    let world = World::new();
    let from = json!({"secretKeyRef": {"name": "token", "key": "value"}});
    let container = json!({"name": "main", "image": "image", "env": [{"name": "TOKEN", "valueFrom": from}]});
    world.job(
        "j",
        "image",
        json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}),
    );
    world.pass(SECOND);
    assert_eq!(world.pods(), ["Pending CreateContainerConfigError"]);
    assert_snapshot!(world.warnings(), @r#"Failed x1: Error: secret "token" not found"#);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token", "namespace": "n"}, "data": {"value": ""},
    });
    world.kubernetes.create("kubectl", secret).unwrap();
    world.pass(15 * SECOND);
    assert_eq!(world.pods(), ["Succeeded Completed"]);
}

#[test]
fn a_pod_waits_for_a_node_with_room() {
    let world = World::new();
    world.kubernetes.node("node-1", "1", "1Gi", 10);
    let resources = json!({"requests": {"cpu": "1500m"}});
    let container = json!({"name": "main", "image": "image", "resources": resources});
    world.job(
        "j",
        "image",
        json!({"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}),
    );
    world.pass(SECOND);
    assert_eq!(world.pods(), ["Pending Unschedulable"]);
    assert_snapshot!(world.warnings(), @r#"FailedScheduling x1: 0/1 nodes are available: 1 Insufficient cpu."#);
    world.kubernetes.node("node-2", "2", "1Gi", 10);
    world.pass(2 * SECOND);
    assert_eq!(world.pods(), ["Succeeded Completed"]);
}

#[test]
fn a_quota_on_pods_is_told_by_an_event_that_counts_up_and_lifted_in_time() {
    let world = World::new();
    world
        .kubernetes
        .quota("n", "q", &[("pods", "0"), ("count/jobs.batch", "1")])
        .unwrap();
    world.job("j", "image", json!({}));
    world.pass(25 * SECOND);
    assert_snapshot!(world.warnings(), @r#"FailedCreate x3: Error creating: pods "j-" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"#);
    world.kubernetes.quota("n", "q", &[("pods", "1")]).unwrap();
    world.pass(15 * SECOND);
    assert_eq!(world.pods(), ["Succeeded Completed"]);
}

#[test]
fn a_quota_on_cpu_demands_that_pods_say_what_they_need() {
    let world = World::new();
    world.kubernetes.quota("n", "q", &[("requests.cpu", "1")]).unwrap();
    world.job("j", "image", json!({}));
    world.pass(SECOND);
    assert_snapshot!(world.warnings(), @r#"FailedCreate x1: Error creating: pods "j-" is forbidden: failed quota: q: must specify requests.cpu"#);
}

#[test]
fn a_pod_needs_its_service_account() {
    let world = World::new();
    let pod = json!({
        "restartPolicy": "Never", "serviceAccountName": "nobody", "containers": [{"name": "main", "image": "image"}],
    });
    world.job("j", "image", json!({"template": {"spec": pod}}));
    world.pass(SECOND);
    assert_snapshot!(world.warnings(), @r#"FailedCreate x1: Error creating: pods "j-" is forbidden: error looking up service account n/nobody: serviceaccount "nobody" not found"#);
    world.kubernetes.grant("n", "nobody", Vec::new());
    world.pass(15 * SECOND);
    assert_eq!(world.pods(), ["Succeeded Completed"]);
}

#[test]
fn a_deployment_rolls_over_without_losing_availability() {
    let world = World::new();
    world.deployment("d", "image:1", 2);
    world.pass(SECOND);
    let status = world.status("Deployment", "d");
    assert_eq!(
        (&status["availableReplicas"], &status["observedGeneration"]),
        (&json!(2), &json!(1))
    );
    let image =
        |document: &mut Value| document["spec"]["template"]["spec"]["containers"][0]["image"] = json!("image:2");
    world
        .kubernetes
        .edit(&reference("Deployment", "d"), "kubectl", image)
        .unwrap();
    for _ in 0..40 {
        world.pass(Duration::from_millis(50));
        assert!(world.status("Deployment", "d")["availableReplicas"].as_i64() >= Some(2));
    }
    let pods = world.kubernetes.objects("v1", "Pod", Some("n"));
    let images: Vec<_> = pods.iter().map(|pod| &pod["spec"]["containers"][0]["image"]).collect();
    assert_eq!(images, ["image:2", "image:2"]);
    let status = world.status("Deployment", "d");
    assert_eq!(
        truths(&status),
        [
            "Available=True MinimumReplicasAvailable",
            "Progressing=True NewReplicaSetAvailable"
        ]
    );
}

#[test]
fn a_deployment_whose_pod_is_deleted_is_degraded_and_restored() {
    let world = World::new();
    world.deployment("d", "image", 1);
    world.pass(SECOND);
    let pod = notices::reference(&world.kubernetes.objects("v1", "Pod", Some("n"))[0]);
    world.kubernetes.remove(&pod, Propagation::Background).unwrap();
    world.pass(Duration::from_millis(100));
    assert_eq!(
        truths(&world.status("Deployment", "d"))[0],
        "Available=False MinimumReplicasUnavailable"
    );
    world.pass(SECOND);
    assert_eq!(
        truths(&world.status("Deployment", "d"))[0],
        "Available=True MinimumReplicasAvailable"
    );
}

#[test]
fn a_deployment_that_may_not_have_pods_says_so() {
    let world = World::new();
    world.kubernetes.quota("n", "q", &[("pods", "0")]).unwrap();
    world.deployment("d", "image", 1);
    world.pass(SECOND);
    let deployment = world.object("Deployment", "d");
    assert_json_snapshot!(document::condition(&deployment, "ReplicaFailure").unwrap(), @r#"
    {
      "lastTransitionTime": "2026-01-01T00:00:00Z",
      "message": "pods \"d-27a3926af7-\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0",
      "reason": "FailedCreate",
      "status": "True",
      "type": "ReplicaFailure"
    }
    "#);
}

#[test]
fn a_deployment_that_does_not_get_on_has_stalled_at_its_deadline() {
    let world = World::new();
    world.kubernetes.image("image", ImageBehaviour::Missing);
    world.deployment("d", "image", 1);
    world.pass(590 * SECOND);
    assert_eq!(
        truths(&world.status("Deployment", "d"))[1],
        "Progressing=True ReplicaSetUpdated"
    );
    world.pass(20 * SECOND);
    assert_eq!(
        truths(&world.status("Deployment", "d"))[1],
        "Progressing=False ProgressDeadlineExceeded"
    );
    world.kubernetes.image("image", ImageBehaviour::Runs);
    world.pass(20 * SECOND);
    assert_eq!(
        truths(&world.status("Deployment", "d"))[1],
        "Progressing=True NewReplicaSetAvailable"
    );
}

#[test]
fn a_foreground_deletion_keeps_the_owner_until_its_dependents_are_gone() {
    let world = World::new();
    world.deployment("d", "image", 1);
    world.pass(SECOND);
    world
        .kubernetes
        .remove(&reference("Deployment", "d"), Propagation::Foreground)
        .unwrap();
    world.pass(Duration::from_millis(200));
    let deployment = world.object("Deployment", "d");
    assert!(document::is_deleting(&deployment) && document::has_finalizer(&deployment, garbage::FOREGROUND));
    world.pass(SECOND);
    assert_eq!(world.kubernetes.object(&reference("Deployment", "d")), None);
    assert_eq!(
        world.kubernetes.objects("apps/v1", "ReplicaSet", None),
        [json!(null); 0]
    );
    assert_eq!(world.pods(), [""; 0]);
}

#[test]
fn orphans_outlive_their_owner() {
    let world = World::new();
    world.deployment("d", "image", 1);
    world.pass(SECOND);
    world
        .kubernetes
        .remove(&reference("Deployment", "d"), Propagation::Orphan)
        .unwrap();
    world.pass(SECOND);
    assert_eq!(world.kubernetes.object(&reference("Deployment", "d")), None);
    assert_eq!(world.pods(), ["Running"]);
}

#[test]
fn a_foreign_finalizer_holds_an_object_until_it_is_removed() {
    let world = World::new();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "n", "finalizers": ["example.com/held"]},
    });
    world.kubernetes.create("kubectl", map).unwrap();
    world
        .kubernetes
        .remove(&reference("ConfigMap", "m"), Propagation::Background)
        .unwrap();
    world.pass(60 * SECOND);
    assert!(document::is_deleting(&world.object("ConfigMap", "m")));
    let free = |document: &mut Value| document::remove_finalizer(document, "example.com/held");
    world
        .kubernetes
        .edit(&reference("ConfigMap", "m"), "kubectl", free)
        .unwrap();
    world.pass(SECOND);
    assert_eq!(world.kubernetes.object(&reference("ConfigMap", "m")), None);
}

#[test]
fn a_deleted_namespace_takes_everything_in_it_along() {
    let world = World::new();
    world.deployment("d", "image", 1);
    world.kubernetes.image("image", ImageBehaviour::Runs);
    world.job("j", "image", json!({}));
    world.pass(SECOND);
    world
        .kubernetes
        .remove(&reference("Namespace", "n"), Propagation::Background)
        .unwrap();
    assert_eq!(world.status("Namespace", "n")["phase"], "Terminating");
    world.pass(5 * SECOND);
    assert_eq!(world.kubernetes.object(&reference("Namespace", "n")), None);
    for (api_version, kind) in [
        ("v1", "Pod"),
        ("batch/v1", "Job"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Event"),
    ] {
        assert_eq!(world.kubernetes.objects(api_version, kind, Some("n")), [json!(null); 0]);
    }
}

#[test]
fn a_custom_resource_definition_makes_its_kind_known() {
    let world = World::new();
    let widget = json!({
        "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "n"}, "spec": {},
    });
    let unknown = world.kubernetes.create("kubectl", widget.clone()).unwrap_err();
    assert_eq!(
        unknown.message,
        "no matches for kind \"Widget\" in version \"example.com/v1\""
    );
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true}],
        },
    });
    world.kubernetes.create("kubectl", definition).unwrap();
    world.kubernetes.create("kubectl", widget).unwrap();
    assert_eq!(world.kubernetes.objects("example.com/v1", "Widget", None).len(), 1);
}

fn apply(name: &str) -> Apply {
    Apply {
        reference: reference("ConfigMap", name),
        document: json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}, "data": {"a": "1"},
        }),
        field_manager: "berth/a".to_owned(),
        force: false,
        expect: Expect::Absent,
    }
}

fn account() -> Identity {
    Identity {
        namespace: "n".to_owned(),
        service_account: "a".to_owned(),
    }
}

#[tokio::test]
async fn a_right_covers_its_verbs_resources_and_namespace_only() {
    let world = World::new();
    world.kubernetes.namespace("other");
    world.kubernetes.grant(
        "n",
        "a",
        vec![Rule::all_of("", &["configmaps"], "n").only(&["patch", "create"])],
    );
    world.kubernetes.apply(&account(), &apply("one")).await.unwrap();

    let mut elsewhere = apply("one");
    elsewhere.reference.namespace = Some("other".to_owned());
    let refused = world.kubernetes.apply(&account(), &elsewhere).await.unwrap_err();
    let query = Query {
        name: "q".to_owned(),
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some("n".to_owned()),
        selector: Selector::Name("one".to_owned()),
    };
    let unread = world.kubernetes.find(&account(), &query).await.unwrap_err();
    assert_snapshot!(format!("{refused}\n{unread}"), @r#"
    configmaps "one" is forbidden: User "system:serviceaccount:n:a" cannot patch resource "configmaps" in API group "" in the namespace "other"
    configmaps "one" is forbidden: User "system:serviceaccount:n:a" cannot get resource "configmaps" in API group "" in the namespace "n"
    "#);

    world.kubernetes.revoke("n", "a");
    let revoked = world.kubernetes.apply(&account(), &apply("two")).await.unwrap_err();
    assert_eq!(revoked.cause, ClusterCause::Forbidden);
}

#[tokio::test]
async fn webhooks_refuse_and_fail_in_kubernetes_words() {
    let world = World::new();
    world
        .kubernetes
        .grant("n", "a", vec![Rule::all_of("", &["configmaps"], "n")]);
    let judge = |object: &Value| match object["metadata"]["labels"]["team"] {
        Value::Null => Err("label team is missing".to_owned()),
        _ => Ok(()),
    };
    world.kubernetes.webhook("labels.example.com", judge);
    let refused = world.kubernetes.apply(&account(), &apply("one")).await.unwrap_err();
    world.kubernetes.break_webhook("labels.example.com");
    let failed = world.kubernetes.apply(&account(), &apply("one")).await.unwrap_err();
    assert_eq!(
        [&refused.cause, &failed.cause],
        [&ClusterCause::Admission, &ClusterCause::WebhookUnavailable]
    );
    assert_snapshot!(format!("{refused}\n{failed}"), @r#"
    admission webhook "labels.example.com" denied the request: label team is missing
    Internal error occurred: failed calling webhook "labels.example.com": failed to call webhook: Post "https://labels.example.com:443/validate?timeout=10s": context deadline exceeded
    "#);
    world.kubernetes.remove_webhook("labels.example.com");
    world.kubernetes.apply(&account(), &apply("one")).await.unwrap();
}

#[tokio::test]
async fn a_throttled_call_is_told_how_long_to_wait() {
    let world = World::new();
    world
        .kubernetes
        .grant("n", "a", vec![Rule::all_of("", &["configmaps"], "n")]);
    world.kubernetes.throttle(1, 7 * SECOND);
    let throttled = world.kubernetes.apply(&account(), &apply("one")).await.unwrap_err();
    assert_eq!(
        (throttled.cause, throttled.retry_after),
        (ClusterCause::Throttled, Some(7 * SECOND))
    );
    world.kubernetes.apply(&account(), &apply("one")).await.unwrap();
}

#[tokio::test]
async fn what_vanished_while_the_api_was_away_is_told_when_it_is_back() {
    let world = World::new();
    let mut map = apply("one").document;
    map["metadata"]["labels"] = json!({
        "berth.hyperfleet.io/adapter": "a", "berth.hyperfleet.io/subject-kind": "Cluster",
        "berth.hyperfleet.io/subject-id": "c",
    });
    world.kubernetes.create("kubectl", map).unwrap();
    let mut changes = world.kubernetes.changes().unwrap();
    let maps = KindScope {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: None,
    };
    world.kubernetes.watch(&[maps]).await;
    assert_eq!(changes.try_recv().unwrap().object, reference("ConfigMap", "one"));

    world.kubernetes.go_away();
    world
        .kubernetes
        .remove(&reference("ConfigMap", "one"), Propagation::Background)
        .unwrap();
    assert!(changes.try_recv().is_err());
    world.kubernetes.come_back();
    assert_eq!(changes.try_recv().unwrap().object, reference("ConfigMap", "one"));
    assert!(changes.try_recv().is_err());
}

#[tokio::test]
async fn a_running_simulation_follows_the_machines_clock() {
    let pace = Pace {
        control: Duration::from_millis(1),
        start: Duration::from_millis(5),
        run: Duration::from_millis(5),
        ..Pace::default()
    };
    let kubernetes = Kubernetes::with_pace(SystemClock, pace);
    let driver = tokio::spawn({
        let kubernetes = kubernetes.clone();
        async move { kubernetes.run().await }
    });
    let mut changes = kubernetes.changes().unwrap();
    let jobs = KindScope {
        api_version: "batch/v1".to_owned(),
        kind: "Job".to_owned(),
        namespace: None,
    };
    kubernetes.watch(&[jobs]).await;
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "j", "namespace": "default", "labels": {
            "berth.hyperfleet.io/adapter": "a", "berth.hyperfleet.io/subject-kind": "Cluster",
            "berth.hyperfleet.io/subject-id": "c",
        }},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "image"}]}}},
    });
    let job = notices::reference(&kubernetes.create("kubectl", job).unwrap());
    loop {
        changes.recv().await.unwrap();
        if document::holds(&kubernetes.object(&job).unwrap(), "Complete") {
            break;
        }
    }
    driver.abort();
}
