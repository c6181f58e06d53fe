//! The rules of the API, one by one.

#![allow(clippy::unwrap_used, reason = "a test that panics fails")]

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Cadence, FleetState, Kind};

const CLUSTERS: &str = "/api/hyperfleet/v1/clusters";

fn noon() -> Timestamp {
    "2026-08-21T12:00:00Z".parse().unwrap()
}

fn later(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

/// Makes a call; answers with status and body.
fn call(state: &mut FleetState, now: Timestamp, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let (path, query) = path
        .split_once('?')
        .map_or((path, None), |(path, query)| (path, Some(query)));
    let response = state.handle(now, method, path, query, body.to_string().as_bytes());
    (
        response.status,
        serde_json::from_slice(&response.body).unwrap_or_default(),
    )
}

fn get(state: &mut FleetState, path: &str) -> (u16, Value) {
    call(state, noon(), "GET", path, &Value::Null)
}

fn cluster(state: &mut FleetState, name: &str) -> String {
    state
        .create(noon(), Kind::Cluster, None, name, &json!({"n": 1}))
        .unwrap()["href"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn report(adapter: &str, generation: i64, available: &str, time: Timestamp) -> Value {
    json!({
        "adapter": adapter,
        "observed_generation": generation,
        "observed_time": time.to_string(),
        "conditions": [
            {"type": "Available", "status": available, "reason": "R", "message": "m"},
            {"type": "Applied", "status": "True"},
            {"type": "Health", "status": "True"},
        ],
    })
}

fn put(state: &mut FleetState, now: Timestamp, path: &str, report: &Value) -> u16 {
    call(state, now, "PUT", &format!("{path}/statuses"), report).0
}

/// The conditions of a resource, a line each.
fn conditions(state: &mut FleetState, path: &str) -> String {
    let resource = get(state, path).1;
    let lines = resource["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            let text = |key: &str| condition[key].as_str().unwrap().to_owned();
            let generation = &condition["observed_generation"];
            format!(
                "{}={} {} @{generation} {}",
                text("type"),
                text("status"),
                text("reason"),
                text("message")
            )
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn reports_are_judged_in_the_apis_order() {
    let with = |key: &str, value: Value| {
        let mut body = report("dns", 1, "True", noon());
        body[key] = value;
        body
    };
    let condition = |status: &str| json!([{"type": "Available", "status": status}]);
    let twice = json!([{"type": "A", "status": "True"}, {"type": "A", "status": "True"}]);
    let cases = [
        ("no object", json!([])),
        ("bad time", with("observed_time", json!("yesterday"))),
        ("time of another type", with("observed_time", json!(7))),
        ("no adapter", with("adapter", json!(""))),
        ("generation 0", with("observed_generation", json!(0))),
        ("generation as text", with("observed_generation", json!("1"))),
        ("no conditions", with("conditions", Value::Null)),
        (
            "a condition without type",
            with("conditions", json!([{"type": "", "status": "True"}])),
        ),
        ("a condition twice", with("conditions", twice)),
        ("another status", with("conditions", condition("true"))),
        ("too far ahead", with("observed_time", json!(later(301).to_string()))),
        ("ahead", with("observed_time", json!(later(300).to_string()))),
        ("too long ago", with("observed_time", json!(later(-1801).to_string()))),
        ("incomplete", with("conditions", condition("True"))),
        ("incomplete, of a later generation", {
            let mut body = with("conditions", condition("True"));
            body["observed_generation"] = json!(2);
            body
        }),
        ("data of another type", with("data", json!("x"))),
        ("metadata of another type", with("metadata", json!({"attempt": "1"}))),
        ("a bad time in metadata", with("metadata", json!({"started_time": "x"}))),
        ("unknown keys", with("surprise", json!(1))),
        ("no time", with("observed_time", Value::Null)),
    ];

    let answers: Vec<String> = cases
        .into_iter()
        .map(|(name, body)| {
            let mut state = FleetState::new(&["dns"], &[]);
            let path = cluster(&mut state, "east-1");
            let (status, body) = call(&mut state, noon(), "PUT", &format!("{path}/statuses"), &body);
            format!("{name}: {status} {}", body["code"].as_str().unwrap_or_default())
        })
        .collect();

    insta::assert_snapshot!(answers.join("\n"), @"
    no object: 400 HYPERFLEET-VAL-000
    bad time: 400 HYPERFLEET-VAL-006
    time of another type: 400 HYPERFLEET-VAL-000
    no adapter: 400 HYPERFLEET-VAL-000
    generation 0: 400 HYPERFLEET-VAL-000
    generation as text: 400 HYPERFLEET-VAL-000
    no conditions: 400 HYPERFLEET-VAL-000
    a condition without type: 400 HYPERFLEET-VAL-000
    a condition twice: 400 HYPERFLEET-VAL-000
    another status: 400 HYPERFLEET-VAL-000
    too far ahead: 400 HYPERFLEET-VAL-000
    ahead: 201 
    too long ago: 400 HYPERFLEET-VAL-000
    incomplete: 400 HYPERFLEET-VAL-000
    incomplete, of a later generation: 204 
    data of another type: 400 HYPERFLEET-VAL-000
    metadata of another type: 400 HYPERFLEET-VAL-000
    a bad time in metadata: 400 HYPERFLEET-VAL-006
    unknown keys: 201 
    no time: 201
    ");
}

#[test]
fn a_body_that_is_no_json_and_a_missing_resource_have_their_own_codes() {
    let mut state = FleetState::new(&["dns"], &[]);
    let path = format!("{CLUSTERS}/none/statuses");

    let broken = state.handle(noon(), "PUT", &path, None, b"{");
    let missing = call(&mut state, noon(), "PUT", &path, &report("dns", 1, "True", noon()));

    assert_eq!(
        serde_json::from_slice::<Value>(&broken.body).unwrap()["code"],
        "HYPERFLEET-VAL-006"
    );
    assert_eq!((missing.0, &missing.1["code"]), (404, &json!("HYPERFLEET-NTF-001")));
}

#[test]
fn an_older_or_unknown_report_is_discarded_and_an_equal_time_keeps_the_row() {
    let mut state = FleetState::new(&["dns"], &[]);
    let path = cluster(&mut state, "east-1");
    let mut put = |report: Value| call(&mut state, noon(), "PUT", &format!("{path}/statuses"), &report);

    assert_eq!(put(report("dns", 1, "Unknown", later(-9))).0, 201);
    assert_eq!(put(report("dns", 1, "True", later(-5))).0, 201);
    assert_eq!(put(report("dns", 1, "True", later(-6))).0, 204);
    assert_eq!(put(report("dns", 1, "Unknown", later(-1))).0, 204);
    let (status, kept) = put(report("dns", 1, "False", later(-5)));
    assert_eq!((status, &kept["conditions"][0]["status"]), (201, &json!("True")));
    let (_, row) = put(report("dns", 1, "False", later(-3)));
    assert_eq!(row["created_time"], later(-9).to_string());
    assert_eq!(row["last_report_time"], later(-3).to_string());
    let transitions: Vec<&Value> = row["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| &condition["last_transition_time"])
        .collect();
    assert_eq!(
        transitions,
        [
            &json!(later(-3).to_string()),
            &json!(later(-9).to_string()),
            &json!(later(-9).to_string())
        ]
    );
}

#[test]
fn reports_are_aggregated_over_the_required_adapters() {
    let mut state = FleetState::new(&["landing-zone", "dns"], &[]);
    let path = cluster(&mut state, "east-1");
    let mut history = vec![("created", conditions(&mut state, &path))];

    put(&mut state, later(1), &path, &report("dns", 1, "True", later(1)));
    put(&mut state, later(1), &path, &report("bystander", 1, "False", later(1)));
    history.push(("one reported", conditions(&mut state, &path)));
    put(
        &mut state,
        later(2),
        &path,
        &report("landing-zone", 1, "True", later(2)),
    );
    history.push(("both reported", conditions(&mut state, &path)));
    state.patch(later(3), &path, &json!({"spec": {"n": 2}})).unwrap();
    history.push(("changed", conditions(&mut state, &path)));
    put(&mut state, later(4), &path, &report("dns", 2, "False", later(4)));
    history.push(("one failed at the new generation", conditions(&mut state, &path)));
    put(
        &mut state,
        later(5),
        &path,
        &report("landing-zone", 1, "False", later(5)),
    );
    history.push(("one failed at the known generation", conditions(&mut state, &path)));

    let history: Vec<String> = history
        .into_iter()
        .map(|(when, lines)| format!("-- {when}\n{lines}"))
        .collect();
    insta::assert_snapshot!(history.join("\n"), @"
    -- created
    Reconciled=False ReconciledMissingAdapters @1 Required adapters not reporting Available=True: [landing-zone, dns]. Currently reporting: []
    LastKnownReconciled=False AdaptersMissingReports @1 Not every required adapter has reported
    -- one reported
    Reconciled=False ReconciledMissingAdapters @1 Required adapters not reporting Available=True: [landing-zone]. Currently reporting: [dns]
    LastKnownReconciled=False AdaptersMissingReports @1 Not every required adapter has reported
    DnsSuccessful=True R @1 m
    -- both reported
    Reconciled=True ReconciledAll @1 All required adapters report Available=True for the current generation
    LastKnownReconciled=True AllAdaptersReconciled @1 All required adapters reported Available=True for generation 1
    LandingZoneSuccessful=True R @1 m
    DnsSuccessful=True R @1 m
    -- changed
    Reconciled=False ReconciledMissingAdapters @2 Required adapters not reporting Available=True: [landing-zone, dns]. Currently reporting: []
    LastKnownReconciled=True AllAdaptersReconciled @1 All required adapters reported Available=True for generation 1
    LandingZoneSuccessful=True R @1 m
    DnsSuccessful=True R @1 m
    -- one failed at the new generation
    Reconciled=False ReconciledMissingAdapters @2 Required adapters not reporting Available=True: [landing-zone, dns]. Currently reporting: []
    LastKnownReconciled=True AllAdaptersReconciled @1 All required adapters reported Available=True for generation 1
    LandingZoneSuccessful=True R @1 m
    DnsSuccessful=False R @2 m
    -- one failed at the known generation
    Reconciled=False ReconciledMissingAdapters @2 Required adapters not reporting Available=True: [landing-zone, dns]. Currently reporting: []
    LastKnownReconciled=False AdapterReportedNotAvailable @1 A required adapter reported Available=False
    LandingZoneSuccessful=False R @1 m
    DnsSuccessful=False R @2 m
    ");
}

#[test]
fn a_kind_that_requires_nothing_is_never_reconciled() {
    let mut state = FleetState::new(&[], &[]);
    let path = cluster(&mut state, "east-1");
    assert_eq!(conditions(&mut state, &path), "");
    assert_eq!(state.sentinel(noon()).len(), 1);

    put(&mut state, noon(), &path, &report("dns", 1, "True", noon()));

    assert!(conditions(&mut state, &path).starts_with("Reconciled=False"));
    assert_eq!(call(&mut state, noon(), "DELETE", &path, &Value::Null).0, 202);
    assert_eq!(get(&mut state, &path).0, 404);
}

#[test]
fn only_real_changes_raise_the_generation() {
    let mut state = FleetState::new(&["dns"], &[]);
    let path = cluster(&mut state, "east-1");
    let mut generation = |change: Value| call(&mut state, noon(), "PATCH", &path, &change).1["generation"].clone();

    assert_eq!(generation(json!({"spec": {"n": 1}})), 1);
    assert_eq!(generation(json!({"spec": {"n": 2}})), 2);
    assert_eq!(generation(json!({"labels": {"a": "b"}})), 3);
    assert_eq!(generation(json!({"name": "other"})), Value::Null);
    assert_eq!(state.delete(noon(), &path).unwrap()["generation"], 4);
    assert_eq!(state.delete(noon(), &path).unwrap()["generation"], 4);
    assert_eq!(
        state.patch(noon(), &path, &json!({"spec": {}})).unwrap_err().status,
        409
    );
}

#[test]
fn deletion_cascades_waits_and_stays_visible_in_lists() {
    let mut state = FleetState::new(&["dns"], &["sizing"]);
    let path = cluster(&mut state, "east-1");
    let pool = state
        .create(noon(), Kind::NodePool, Some(&path), "workers", &json!({}))
        .unwrap();
    state.delete(noon(), &path).unwrap();

    let listed = get(&mut state, "/api/hyperfleet/v1/resources").1;
    let deleting: Vec<bool> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["deleted_time"].is_string())
        .collect();
    assert_eq!(deleting, [true, true]);
    assert_eq!(pool["owner_references"]["href"], path.as_str());
    let other = state
        .create(noon(), Kind::NodePool, Some(&path), "others", &json!({}))
        .unwrap_err();
    assert_eq!(other.status, 409);

    let force = format!("{path}/force-delete");
    assert_eq!(call(&mut state, noon(), "POST", &force, &json!({"reason": ""})).0, 400);
    assert_eq!(
        call(&mut state, noon(), "POST", &force, &json!({"reason": "stuck"})).0,
        204
    );
    assert_eq!(get(&mut state, pool["href"].as_str().unwrap()).0, 404);
    let fresh = cluster(&mut state, "east-2");
    assert_eq!(
        call(
            &mut state,
            noon(),
            "POST",
            &format!("{fresh}/force-delete"),
            &json!({"reason": "x"})
        )
        .0,
        409
    );
}

#[test]
fn an_unfinished_or_outdated_finalized_deletes_nothing() {
    let mut state = FleetState::new(&["dns", "lz"], &[]);
    let path = cluster(&mut state, "east-1");
    let finalized = |adapter: &str, generation: i64, time: Timestamp| {
        let mut report = report(adapter, generation, "False", time);
        report["conditions"]
            .as_array_mut()
            .unwrap()
            .push(json!({"type": "Finalized", "status": "True"}));
        report
    };

    put(&mut state, later(1), &path, &finalized("dns", 1, later(1)));
    put(&mut state, later(1), &path, &finalized("lz", 1, later(1)));
    assert_eq!(get(&mut state, &path).0, 200);
    state.delete(later(2), &path).unwrap();
    put(&mut state, later(3), &path, &finalized("dns", 2, later(3)));
    assert_eq!(get(&mut state, &path).0, 200);
    assert_eq!(put(&mut state, later(4), &path, &finalized("lz", 2, later(4))), 201);
    assert_eq!(get(&mut state, &path).0, 404);
}

#[test]
fn addresses_and_methods_are_told_apart() {
    let mut state = FleetState::new(&["dns"], &["sizing"]);
    let path = cluster(&mut state, "east-1");
    let other = cluster(&mut state, "east-2");
    let pool = state
        .create(noon(), Kind::NodePool, Some(&path), "workers", &json!({}))
        .unwrap();
    let id = pool["id"].as_str().unwrap();
    let body = json!({"kind": "NodePool", "name": "others", "spec": {}});
    let cases = [
        ("GET", "/api/hyperfleet".to_owned()),
        ("GET", format!("{path}/nodepools/{id}")),
        ("GET", format!("{other}/nodepools/{id}")),
        ("GET", format!("/api/hyperfleet/v1/nodepools/{id}")),
        ("GET", format!("/api/hyperfleet/v1/resources/{id}/statuses")),
        ("GET", format!("{CLUSTERS}/{id}")),
        ("POST", "/api/hyperfleet/v1/nodepools".to_owned()),
        ("POST", format!("{path}/statuses")),
        ("PATCH", format!("{path}/statuses")),
        ("POST", format!("{CLUSTERS}/none/nodepools")),
        ("GET", "/api/hyperfleet/v1/others".to_owned()),
        ("GET", "/api/hyperfleet/v2/clusters".to_owned()),
        ("GET", format!("{CLUSTERS}?size=101")),
        ("GET", format!("{CLUSTERS}?page=0")),
        ("GET", format!("{CLUSTERS}?pageSize=500")),
        ("GET", format!("{CLUSTERS}?search=spec ~ 'x'")),
    ];

    let answers: Vec<String> = cases
        .into_iter()
        .map(|(method, path)| {
            let (status, body) = call(&mut state, noon(), method, &path, &body);
            format!("{status} {} {method} {path}", body["code"].as_str().unwrap_or("-")).replace(id, "POOL")
        })
        .map(|line| line.replace(path.rsplit('/').next().unwrap(), "EAST-1"))
        .map(|line| line.replace(other.rsplit('/').next().unwrap(), "EAST-2"))
        .collect();

    insta::assert_snapshot!(answers.join("\n"), @"
    200 - GET /api/hyperfleet
    200 - GET /api/hyperfleet/v1/clusters/EAST-1/nodepools/POOL
    404 HYPERFLEET-NTF-001 GET /api/hyperfleet/v1/clusters/EAST-2/nodepools/POOL
    200 - GET /api/hyperfleet/v1/nodepools/POOL
    200 - GET /api/hyperfleet/v1/resources/POOL/statuses
    404 HYPERFLEET-NTF-001 GET /api/hyperfleet/v1/clusters/POOL
    422 HYPERFLEET-VAL-000 POST /api/hyperfleet/v1/nodepools
    405  POST /api/hyperfleet/v1/clusters/EAST-1/statuses
    405  PATCH /api/hyperfleet/v1/clusters/EAST-1/statuses
    404 HYPERFLEET-NTF-001 POST /api/hyperfleet/v1/clusters/none/nodepools
    404 HYPERFLEET-NTF-000 GET /api/hyperfleet/v1/others
    404 HYPERFLEET-NTF-000 GET /api/hyperfleet/v2/clusters
    400 HYPERFLEET-VAL-000 GET /api/hyperfleet/v1/clusters?size=101
    400 HYPERFLEET-VAL-000 GET /api/hyperfleet/v1/clusters?page=0
    200 - GET /api/hyperfleet/v1/clusters?pageSize=500
    400 HYPERFLEET-VAL-000 GET /api/hyperfleet/v1/clusters?search=spec ~ 'x'
    ");
}

#[test]
fn lists_have_pages_order_and_search() {
    let mut state = FleetState::new(&["dns"], &[]);
    for name in ["one", "two", "three"] {
        cluster(&mut state, name);
    }
    let mut names = |query: &str| {
        let list = get(&mut state, &format!("{CLUSTERS}?{query}")).1;
        let names: Vec<String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect();
        format!("{} of {}: {}", list["size"], list["total"], names.join(" "))
    };

    assert_eq!(names(""), "3 of 3: three two one");
    assert_eq!(names("size=2&page=2&order=created_time+asc"), "1 of 3: three");
    assert_eq!(names("search=name%3D'two'+and+kind%3D'Cluster'"), "1 of 1: two");
}

#[test]
fn names_must_fit_and_be_free() {
    let mut state = FleetState::new(&["dns"], &["sizing"]);
    let path = cluster(&mut state, "east-1");
    let mut create = |kind, owner: Option<&str>, name: &str| {
        state
            .create(noon(), kind, owner, name, &json!({}))
            .map_or_else(|refusal| refusal.status, |_| 201)
    };

    assert_eq!(create(Kind::Cluster, None, "east-1"), 409);
    for name in ["ab", "-ab", "ab-", "Abc", "a.b", &"a".repeat(54)] {
        assert_eq!(create(Kind::Cluster, None, name), 400, "{name}");
    }
    assert_eq!(create(Kind::Cluster, None, &"a".repeat(53)), 201);
    assert_eq!(create(Kind::NodePool, Some(&path), &"a".repeat(16)), 400);
    assert_eq!(create(Kind::NodePool, Some(&path), "east-1"), 201);
}

#[test]
fn sentinel_publishes_what_is_due_and_nothing_else() {
    let mut state = FleetState::new(&["dns"], &["sizing"]);
    let path = cluster(&mut state, "east-1");
    let due = |state: &mut FleetState, now| state.sentinel(now).len();

    assert_eq!(due(&mut state, later(10)), 0);
    assert_eq!(due(&mut state, later(11)), 1);
    put(&mut state, later(12), &path, &report("dns", 1, "False", later(12)));
    assert_eq!(due(&mut state, later(22)), 0);
    assert_eq!(due(&mut state, later(23)), 1);
    put(&mut state, later(24), &path, &report("dns", 1, "True", later(24)));
    assert_eq!(due(&mut state, later(24 + 1800)), 0);
    assert_eq!(due(&mut state, later(25 + 1800)), 1);
    let often = Cadence {
        reconciled: SignedDuration::from_secs(1),
        ..Cadence::default()
    };
    assert_eq!(state.sentinel_at(later(26), often).len(), 1);
    state.patch(later(30), &path, &json!({"spec": {"n": 2}})).unwrap();
    assert_eq!(due(&mut state, later(40)), 0);
    assert_eq!(due(&mut state, later(41)), 1);
}

#[test]
fn an_event_has_exactly_what_sentinel_sends() {
    let mut state = FleetState::new(&["dns"], &["sizing"]);
    let path = cluster(&mut state, "east-1");
    state
        .create(noon(), Kind::NodePool, Some(&path), "workers", &json!({}))
        .unwrap();

    let events = state.sentinel(later(11));

    insta::assert_json_snapshot!(events[1], @r#"
    {
      "data": {
        "generation": 1,
        "href": "/api/hyperfleet/v1/clusters/01a02431-3600-7000-8000-000000000001/nodepools/01a02431-3600-7000-8000-000000000002",
        "id": "01a02431-3600-7000-8000-000000000002",
        "kind": "NodePool",
        "owner_references": {
          "href": "/api/hyperfleet/v1/clusters/01a02431-3600-7000-8000-000000000001",
          "id": "01a02431-3600-7000-8000-000000000001",
          "kind": "Cluster"
        }
      },
      "datacontenttype": "application/json",
      "id": "01a02431-60f8-7000-8000-000000000004",
      "source": "hyperfleet-sentinel",
      "specversion": "1.0",
      "type": "com.redhat.hyperfleet.nodepool.reconcile"
    }
    "#);
    assert_ne!(events[0]["id"], events[1]["id"]);
    assert_eq!(events[0]["type"], "com.redhat.hyperfleet.cluster.reconcile");
}
