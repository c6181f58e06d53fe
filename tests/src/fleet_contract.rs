//! What every implementation of [`Fleet`] must do, whatever carries its requests.
//!
//! Each function arranges an API, makes calls, and checks what the caller and the API see.
//! A test binary runs all of them against each implementation.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "tests: each name says what is checked"
)]

use std::{sync::Arc, time::Duration};

use berth::{
    fleet::{Clock, Settings},
    simulate::fleet::{Fault, FleetState, Kind, ManualClock, Simulation},
    world::Fleet,
};
use berth_engine::{
    contract::{Condition, HttpAction, Truth},
    effect::{FleetFault, Reported},
    report::{Metadata, Report},
    subject::Subject,
};
use serde_json::{Value, json};

/// When both clocks begin.
const NOON: &str = "2026-08-21T12:00:00.123456Z";

/// A simulated API and two clocks: its own, and its caller's.
pub struct Arranged {
    pub simulation: Arc<Simulation>,
    pub server_clock: Arc<ManualClock>,
    pub client_clock: Arc<ManualClock>,
}

impl Arranged {
    /// An empty API that waits for `dns` on clusters and for `sizing` on node pools.
    #[must_use]
    pub fn new() -> Self {
        let noon = NOON.parse().unwrap();
        let server_clock = Arc::new(ManualClock::new(noon));
        let client_clock = Arc::new(ManualClock::new(noon));
        let state = FleetState::new(&["dns"], &["sizing"]);
        Self {
            simulation: Simulation::new(state, server_clock.clone()),
            server_clock,
            client_clock,
        }
    }

    /// Settings for `url`: 10 s for a call.
    #[must_use]
    pub fn settings(url: &str) -> Settings {
        Settings::new(url.parse().unwrap())
    }

    /// Lets the same time pass for both sides.
    pub fn pass(&self, duration: Duration) {
        self.server_clock.advance(duration);
        self.client_clock.advance(duration);
    }

    /// Creates a cluster and returns its path.
    #[must_use]
    pub fn cluster(&self, name: &str) -> String {
        let created = self
            .simulation
            .with(|state, now| state.create(now, Kind::Cluster, None, name, &json!({"n": 1})));
        href(&created.unwrap())
    }

    /// Creates a node pool and returns its path.
    #[must_use]
    pub fn nodepool(&self, cluster: &str, name: &str) -> String {
        let create = |state: &mut FleetState, now| state.create(now, Kind::NodePool, Some(cluster), name, &json!({}));
        href(&self.simulation.with(create).unwrap())
    }

    /// Changes a resource's spec.
    pub fn change(&self, path: &str, spec: &Value) {
        self.simulation
            .with(|state, now| state.patch(now, path, &json!({"spec": spec})))
            .unwrap();
    }

    /// Begins to delete a resource.
    pub fn delete(&self, path: &str) {
        self.simulation.with(|state, now| state.delete(now, path)).unwrap();
    }

    /// GETs past the implementation under test.
    #[must_use]
    pub fn look(&self, path: &str) -> Value {
        let response = self
            .simulation
            .with(|state, now| state.handle(now, "GET", path, None, b""));
        serde_json::from_slice(&response.body).unwrap()
    }
}

impl Default for Arranged {
    fn default() -> Self {
        Self::new()
    }
}

fn href(resource: &Value) -> String {
    resource["href"].as_str().unwrap().to_owned()
}

/// A report of success, whose facts were read when both clocks began.
#[must_use]
pub fn report(adapter: &str, generation: u32) -> Report {
    let condition = |kind: &str| Condition {
        kind: kind.to_owned(),
        status: Truth::True,
        reason: "AllDone".to_owned(),
        message: "all is well".to_owned(),
    };
    Report {
        as_of: NOON.parse().unwrap(),
        replaces: None,
        adapter: adapter.to_owned(),
        observed_generation: generation,
        conditions: vec![condition("Available"), condition("Applied"), condition("Health")],
        data: json!({"zone": "z-1"}),
        metadata: Metadata {
            job_name: Some("dns-1".to_owned()),
            attempt: Some(2),
            ..Metadata::default()
        },
    }
}

/// The same report with another status of one condition.
#[must_use]
pub fn with(mut report: Report, kind: &str, status: Truth) -> Report {
    match report.conditions.iter_mut().find(|condition| condition.kind == kind) {
        Some(condition) => condition.status = status,
        None => report.conditions.push(Condition {
            kind: kind.to_owned(),
            status,
            reason: "Because".to_owned(),
            message: String::new(),
        }),
    }
    report
}

fn condition(resource: &Value, kind: &str) -> Value {
    let conditions = resource["status"]["conditions"].as_array().unwrap();
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == kind)
        .cloned()
        .unwrap_or_default();
    json!([found["status"], found["reason"], found["observed_generation"]])
}

fn unreachable_with(fault: &FleetFault) -> (&str, Option<Duration>) {
    match fault {
        FleetFault::Unreachable { message, retry_after } => (message, *retry_after),
        FleetFault::Gone | FleetFault::Misconfigured { .. } | FleetFault::Rejected { .. } => ("", None),
    }
}

pub async fn a_resource_is_read_as_a_subject(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let nodepool = arranged.nodepool(&cluster, "workers");
    arranged.delete(&nodepool);

    let document = fleet.get(&nodepool).await.unwrap();
    let subject = Subject::from_document(document, "").unwrap();

    assert_eq!(
        (subject.key.kind.as_str(), subject.generation, subject.deleting),
        ("NodePool", 2, true)
    );
    assert_eq!(subject.href, nodepool);
    assert_eq!(subject.owner.unwrap().href, cluster);
}

pub async fn a_missing_resource_is_gone_and_a_wrong_url_is_not(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let missing = cluster.replace("/clusters/", "/clusters/x");
    let wrong = cluster.replace("/v1/", "/v7/");

    assert_eq!(fleet.get(&missing).await, Err(FleetFault::Gone));
    assert_eq!(fleet.statuses(&missing).await, Err(FleetFault::Gone));
    assert_eq!(fleet.report(&missing, &report("dns", 1)).await, Err(FleetFault::Gone));
    for fault in [
        fleet.get(&wrong).await.unwrap_err(),
        fleet.statuses(&wrong).await.unwrap_err(),
        fleet.report(&wrong, &report("dns", 1)).await.unwrap_err(),
    ] {
        let FleetFault::Misconfigured { message } = fault else {
            unreachable!("{fault:?}")
        };
        assert!(
            message.contains("HYPERFLEET-NTF-000") && message.contains("check `url`"),
            "{message}"
        );
    }
}

pub async fn a_report_is_stored_as_it_was_sent(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));

    let rows = fleet.statuses(&cluster).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].conditions, report("dns", 1).conditions);
    assert_eq!((rows[0].adapter.as_str(), rows[0].observed_generation), ("dns", 1));
    assert_eq!(rows[0].data, json!({"zone": "z-1"}));
    assert_eq!(rows[0].last_report_time, "2026-08-21T12:00:00.123456Z");
    let stored = arranged.look(&format!("{cluster}/statuses"));
    assert_eq!(
        stored["items"][0]["metadata"],
        json!({"job_name": "dns-1", "attempt": 2})
    );
    let seen = arranged.look(&cluster);
    assert_eq!(condition(&seen, "Reconciled"), json!(["True", "ReconciledAll", 1]));
    assert_eq!(
        condition(&seen, "LastKnownReconciled"),
        json!(["True", "AllAdaptersReconciled", 1])
    );
    assert_eq!(condition(&seen, "DnsSuccessful"), json!(["True", "AllDone", 1]));
}

pub async fn the_statuses_of_all_pages_are_read(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    for number in 0..230 {
        fleet
            .report(&cluster, &report(&format!("adapter-{number}"), 1))
            .await
            .unwrap();
    }
    arranged.simulation.take_requests();

    let rows = fleet.statuses(&cluster).await.unwrap();

    let names: Vec<String> = rows.into_iter().map(|row| row.adapter).collect();
    assert_eq!(
        names,
        (0..230).map(|number| format!("adapter-{number}")).collect::<Vec<_>>()
    );
    assert_eq!(arranged.simulation.take_requests().len(), 3);
}

pub async fn a_report_about_another_generation_is_discarded(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");

    assert_eq!(fleet.report(&cluster, &report("dns", 2)).await, Ok(Reported::Discarded));
    arranged.change(&cluster, &json!({"n": 2}));
    assert_eq!(fleet.report(&cluster, &report("dns", 2)).await, Ok(Reported::Stored));
    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Discarded));
}

pub async fn a_later_unknown_is_discarded(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let unknown = with(report("dns", 1), "Available", Truth::Unknown);

    assert_eq!(fleet.report(&cluster, &unknown).await, Ok(Reported::Stored));
    assert_eq!(fleet.report(&cluster, &unknown).await, Ok(Reported::Discarded));
    assert_eq!(
        condition(&arranged.look(&cluster), "Reconciled"),
        json!(["False", "ReconciledMissingAdapters", 1])
    );
}

pub async fn an_incomplete_report_is_rejected_once_with_the_apis_words(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let mut incomplete = report("dns", 1);
    incomplete.conditions.pop();
    arranged.simulation.take_requests();

    let fault = fleet.report(&cluster, &incomplete).await.unwrap_err();

    let FleetFault::Rejected { status: 400, message } = fault else {
        unreachable!("{fault:?}")
    };
    assert!(message.contains("missing mandatory condition 'Health'"), "{message}");
    assert_eq!(arranged.simulation.take_requests(), [format!("PUT {cluster}/statuses")]);
}

pub async fn reports_within_a_microsecond_are_all_stored(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let mut times = Vec::new();
    for status in [Truth::True, Truth::False, Truth::True] {
        let report = with(report("dns", 1), "Available", status);
        assert_eq!(fleet.report(&cluster, &report).await, Ok(Reported::Stored));
        let rows = fleet.statuses(&cluster).await.unwrap();
        assert_eq!(rows[0].condition("Available").unwrap().status, status);
        times.push(rows[0].last_report_time.clone());
    }

    assert_eq!(
        times,
        [
            "2026-08-21T12:00:00.123456Z",
            "2026-08-21T12:00:00.123457Z",
            "2026-08-21T12:00:00.123458Z"
        ]
    );
}

pub async fn a_swallowed_report_is_sent_again_until_it_is_stored(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    fleet.report(&cluster, &report("dns", 1)).await.unwrap();
    arranged.simulation.inject(&Fault::Swallowed, 2);
    arranged.simulation.take_requests();

    let changed = with(report("dns", 1), "Available", Truth::False);
    assert_eq!(fleet.report(&cluster, &changed).await, Ok(Reported::Stored));

    assert_eq!(arranged.simulation.take_requests().len(), 3);
    assert_eq!(
        condition(&arranged.look(&cluster), "DnsSuccessful"),
        json!(["False", "AllDone", 1])
    );
}

pub async fn a_report_that_stays_swallowed_is_not_called_stored(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    fleet.report(&cluster, &report("dns", 1)).await.unwrap();
    arranged.simulation.inject(&Fault::Swallowed, 100);
    arranged.simulation.take_requests();

    let changed = with(report("dns", 1), "Available", Truth::False);
    let fault = fleet.report(&cluster, &changed).await.unwrap_err();

    assert!(unreachable_with(&fault).0.contains("another row was kept"), "{fault}");
    assert_eq!(arranged.simulation.take_requests().len(), 4);
}

/// Another host reports failure, at this time.
fn theirs(arranged: &Arranged, cluster: &str, time: &str) {
    let mut theirs = serde_json::to_value(with(report("dns", 1), "Available", Truth::False)).unwrap();
    theirs["observed_time"] = json!(time);
    let path = format!("{cluster}/statuses");
    let put = |state: &mut FleetState, now| {
        state
            .handle(now, "PUT", &path, None, theirs.to_string().as_bytes())
            .status
    };
    assert_eq!(arranged.simulation.with(put), 201);
}

pub async fn the_row_of_another_host_at_the_same_time_is_not_taken_for_ours(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    theirs(arranged, &cluster, "2026-08-21T12:00:00.123456Z");

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));

    assert_eq!(
        condition(&arranged.look(&cluster), "DnsSuccessful"),
        json!(["True", "AllDone", 1])
    );
}

pub async fn a_row_from_a_clock_a_little_ahead_is_replaced_once_it_was_read(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    theirs(arranged, &cluster, "2026-08-21T12:00:40Z");
    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Discarded));

    fleet.statuses(&cluster).await.unwrap();

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));
    assert_eq!(
        condition(&arranged.look(&cluster), "DnsSuccessful"),
        json!(["True", "AllDone", 1])
    );
}

pub async fn who_looked_first_and_reports_last_replaces_nothing(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    theirs(arranged, &cluster, "2026-08-21T12:00:05Z");
    arranged.pass(Duration::from_secs(20));
    let status = || condition(&arranged.look(&cluster), "DnsSuccessful")[0].clone();

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Discarded));
    assert_eq!(status(), "False");

    // Who has read their row looked at everything else after it.
    let row = fleet.statuses(&cluster).await.unwrap().remove(0);
    let report = Report {
        replaces: row.reported_at(),
        ..report("dns", 1)
    };
    assert_eq!(fleet.report(&cluster, &report).await, Ok(Reported::Stored));
    assert_eq!(status(), "True");
}

pub async fn a_wrong_clock_is_corrected_by_the_apis(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    for wrong in ["2026-08-21T18:00:00Z", "2026-08-21T06:00:00Z"] {
        // The first report after the clock changed is refused, which tells the API's time.
        arranged.client_clock.set(wrong.parse().unwrap());
        arranged.server_clock.advance(Duration::from_mins(40));
        let report = Report {
            as_of: wrong.parse().unwrap(),
            ..report("dns", 1)
        };
        assert_eq!(fleet.report(&cluster, &report).await, Ok(Reported::Stored), "{wrong}");
    }

    let rows = fleet.statuses(&cluster).await.unwrap();
    assert_eq!(rows[0].last_report_time, "2026-08-21T13:20:00Z");
}

pub async fn moments_of_weakness_are_outlasted(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    for status in [408, 429, 500, 503] {
        arranged.simulation.inject(
            &Fault::Status {
                status,
                retry_after: None,
            },
            1,
        );
    }
    arranged.simulation.inject(&Fault::Dropped, 1);
    arranged.simulation.take_requests();

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));

    assert_eq!(arranged.simulation.take_requests().len(), 6);
    let waits: Vec<u128> = arranged
        .client_clock
        .take_sleeps()
        .iter()
        .map(Duration::as_millis)
        .collect();
    let bounds = [(50, 100), (100, 200), (200, 400), (400, 800), (800, 1600)];
    assert_eq!(waits.len(), bounds.len());
    for (wait, (least, most)) in waits.iter().zip(bounds) {
        assert!((least..=most).contains(wait), "{waits:?}");
    }
}

pub async fn a_report_whose_answer_was_lost_is_sent_again_with_a_later_time(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.inject(&Fault::AnswerLost, 1);

    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));

    let row = arranged.look(&format!("{cluster}/statuses"))["items"][0].clone();
    assert_eq!(row["created_time"], "2026-08-21T12:00:00.123456Z");
    assert_eq!(row["last_report_time"], "2026-08-21T12:00:00.123457Z");
}

pub async fn a_wait_that_the_api_asks_for_is_kept(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.inject(
        &Fault::Status {
            status: 429,
            retry_after: Some(Duration::from_secs(4)),
        },
        1,
    );

    assert!(fleet.get(&cluster).await.is_ok());

    assert_eq!(arranged.client_clock.take_sleeps(), [Duration::from_secs(4)]);
}

pub async fn a_wait_beyond_the_limit_is_left_to_the_caller(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.inject(
        &Fault::Status {
            status: 429,
            retry_after: Some(Duration::from_mins(1)),
        },
        1,
    );

    let fault = fleet.get(&cluster).await.unwrap_err();

    let (message, retry_after) = unreachable_with(&fault);
    assert!(
        message.contains(&format!("GET {cluster} at ")) && message.contains("answered 429"),
        "{message}"
    );
    assert_eq!(retry_after, Some(Duration::from_mins(1)));
    assert_eq!(arranged.client_clock.take_sleeps(), [Duration::ZERO; 0]);
}

pub async fn an_overloaded_api_is_given_up_within_the_limit(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.inject(
        &Fault::Status {
            status: 503,
            retry_after: None,
        },
        1000,
    );
    let before = arranged.client_clock.elapsed();

    let fault = fleet.report(&cluster, &report("dns", 1)).await.unwrap_err();

    assert!(
        unreachable_with(&fault).0.contains("answered 503: HYPERFLEET-SVC-001"),
        "{fault:?}"
    );
    let spent = arranged.client_clock.elapsed() - before;
    assert!(
        (Duration::from_secs(7)..=Duration::from_secs(10)).contains(&spent),
        "{spent:?}"
    );
}

pub async fn a_partition_ends_each_call_in_time_and_heals(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    fleet.get(&cluster).await.unwrap();
    arranged.simulation.set_down(true);
    let before = arranged.client_clock.elapsed();

    let faults = [
        fleet.get(&cluster).await.unwrap_err(),
        fleet.statuses(&cluster).await.unwrap_err(),
        fleet.report(&cluster, &report("dns", 1)).await.unwrap_err(),
    ];

    for fault in &faults {
        assert!(unreachable_with(fault).0.contains("the connection broke"), "{fault:?}");
    }
    let spent = arranged.client_clock.elapsed() - before;
    assert!(spent <= Duration::from_secs(30), "{spent:?}");
    arranged.simulation.set_down(false);
    assert_eq!(fleet.report(&cluster, &report("dns", 1)).await, Ok(Reported::Stored));
}

pub async fn a_deleted_resource_vanishes_with_the_last_finalized(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let nodepool = arranged.nodepool(&cluster, "workers");
    arranged.delete(&cluster);
    let finalized = |adapter: &str| {
        with(
            with(report(adapter, 2), "Available", Truth::False),
            "Finalized",
            Truth::True,
        )
    };

    assert_eq!(fleet.report(&cluster, &finalized("dns")).await, Ok(Reported::Stored));
    assert_eq!(
        condition(&fleet.get(&cluster).await.unwrap(), "Reconciled"),
        json!(["False", "ReconciledWaitingForChildren", 2])
    );
    assert_eq!(
        fleet.report(&nodepool, &finalized("sizing")).await,
        Ok(Reported::Stored)
    );
    assert_eq!(fleet.get(&nodepool).await, Err(FleetFault::Gone));
    assert!(fleet.get(&cluster).await.is_ok());
    assert_eq!(fleet.report(&cluster, &finalized("dns")).await, Ok(Reported::Stored));
    assert_eq!(fleet.get(&cluster).await, Err(FleetFault::Gone));
}

pub async fn paths_that_are_not_the_apis_are_never_sent(fleet: &dyn Fleet, arranged: &Arranged) {
    for path in [
        "//evil.example/api/x",
        "https://evil.example/api/x",
        "/api/../admin",
        "/metrics",
        "api/x",
        "/api/%2e%2e/x",
    ] {
        let faults = [
            fleet.get(path).await.unwrap_err(),
            fleet.statuses(path).await.unwrap_err(),
            fleet.report(path, &report("dns", 1)).await.unwrap_err(),
            fleet.send(&action("POST", path, None)).await.unwrap_err(),
        ];
        for fault in faults {
            assert!(
                matches!(&fault, FleetFault::Rejected { message, .. } if message.starts_with("not sent:")),
                "{fault}"
            );
        }
    }
    assert!(fleet.statuses("/api/hyperfleet/v1/clusters/x?size=1").await.is_err());
    assert_eq!(arranged.simulation.take_requests(), [""; 0]);
}

fn action(method: &str, url: &str, body: Option<Value>) -> HttpAction {
    HttpAction {
        name: "notify".to_owned(),
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: body.map(|body| body.to_string()),
    }
}

pub async fn other_calls_are_answered_with_status_and_body(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");

    let (status, body) = fleet
        .send(&action("PATCH", &cluster, Some(json!({"labels": {"zone": "z-1"}}))))
        .await
        .unwrap();
    assert_eq!(
        (status, &body["generation"], &body["labels"]),
        (200, &json!(2), &json!({"zone": "z-1"}))
    );

    let (status, body) = fleet
        .send(&action("PATCH", &cluster, Some(json!({"name": "x"}))))
        .await
        .unwrap();
    assert_eq!((status, &body["code"]), (400, &json!("HYPERFLEET-VAL-000")));

    let (status, body) = fleet
        .send(&action("GET", "/api/hyperfleet/v1/clusters/x", None))
        .await
        .unwrap();
    assert_eq!((status, &body["code"]), (404, &json!("HYPERFLEET-NTF-001")));
}

pub async fn a_call_that_may_have_been_executed_is_not_repeated(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    let patch = action("PATCH", &cluster, Some(json!({"labels": {"zone": "z-1"}})));
    arranged.simulation.take_requests();

    arranged.simulation.inject(&Fault::AnswerLost, 1);
    assert!(fleet.send(&patch).await.is_err());
    arranged.simulation.inject(
        &Fault::Status {
            status: 500,
            retry_after: None,
        },
        1,
    );
    assert_eq!(fleet.send(&patch).await.unwrap().0, 500);
    assert_eq!(arranged.simulation.take_requests().len(), 2);

    arranged.simulation.inject(
        &Fault::Status {
            status: 503,
            retry_after: None,
        },
        1,
    );
    assert_eq!(fleet.send(&patch).await.unwrap().0, 200);
    assert_eq!(arranged.simulation.take_requests().len(), 2);
}

pub async fn calls_cannot_bring_their_own_credentials_or_methods(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.take_requests();

    for header in [
        "Authorization",
        "HOST",
        "cookie",
        "Content-Length",
        "X-HyperFleet-System",
    ] {
        let mut action = action("GET", &cluster, None);
        action.headers.push((header.to_owned(), "x".to_owned()));
        let fault = fleet.send(&action).await.unwrap_err();
        assert!(fault.to_string().contains("only the host sets"), "{fault}");
    }
    for method in ["TRACE", "get", "CONNECT", ""] {
        let fault = fleet.send(&action(method, &cluster, None)).await.unwrap_err();
        assert!(
            fault.to_string().contains("use GET, POST, PUT, PATCH or DELETE"),
            "{fault}"
        );
    }
    assert_eq!(arranged.simulation.take_requests(), [""; 0]);
}

pub async fn a_refused_identity_is_a_misconfiguration(fleet: &dyn Fleet, arranged: &Arranged) {
    let cluster = arranged.cluster("east-1");
    arranged.simulation.require_token(Some("sesame"));
    arranged.simulation.take_requests();

    let unauthenticated = fleet.get(&cluster).await.unwrap_err();
    arranged.simulation.inject(
        &Fault::Status {
            status: 403,
            retry_after: None,
        },
        1,
    );
    let forbidden = fleet.get(&cluster).await.unwrap_err();

    for (fault, code) in [
        (unauthenticated, "HYPERFLEET-AUT-001"),
        (forbidden, "HYPERFLEET-AUZ-001"),
    ] {
        assert!(
            matches!(&fault, FleetFault::Misconfigured { message } if message.contains(code)),
            "{fault}"
        );
    }
    assert_eq!(arranged.simulation.take_requests().len(), 2);
}

/// Runs a callback macro with the name of every function above.
#[macro_export]
macro_rules! fleet_contract {
    ($callback:ident) => {
        $callback! {
            a_resource_is_read_as_a_subject
            a_missing_resource_is_gone_and_a_wrong_url_is_not
            a_report_is_stored_as_it_was_sent
            the_statuses_of_all_pages_are_read
            a_report_about_another_generation_is_discarded
            a_later_unknown_is_discarded
            an_incomplete_report_is_rejected_once_with_the_apis_words
            reports_within_a_microsecond_are_all_stored
            a_swallowed_report_is_sent_again_until_it_is_stored
            a_report_that_stays_swallowed_is_not_called_stored
            the_row_of_another_host_at_the_same_time_is_not_taken_for_ours
            a_row_from_a_clock_a_little_ahead_is_replaced_once_it_was_read
            who_looked_first_and_reports_last_replaces_nothing
            a_wrong_clock_is_corrected_by_the_apis
            moments_of_weakness_are_outlasted
            a_report_whose_answer_was_lost_is_sent_again_with_a_later_time
            a_wait_that_the_api_asks_for_is_kept
            a_wait_beyond_the_limit_is_left_to_the_caller
            an_overloaded_api_is_given_up_within_the_limit
            a_partition_ends_each_call_in_time_and_heals
            a_deleted_resource_vanishes_with_the_last_finalized
            paths_that_are_not_the_apis_are_never_sent
            other_calls_are_answered_with_status_and_body
            a_call_that_may_have_been_executed_is_not_repeated
            calls_cannot_bring_their_own_credentials_or_methods
            a_refused_identity_is_a_misconfiguration
        }
    };
}
