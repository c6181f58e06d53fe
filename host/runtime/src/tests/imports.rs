//! Imports: denied without a grant, answered with one, bounded in time and size.

use async_trait::async_trait;
use berth_engine::{
    adapter::{HostGrant, KindGrant, PathGrant},
    contract::Reference,
    reason::Reason,
};

use super::*;
use crate::hosts::{
    ClusterRefusal, FleetQuestion, FleetRefusal, HostCalls, HttpAnswer, HttpQuestion, HttpRefusal, Search,
};

/// Every function that can be imported, but `log`, with the guest that calls it and a
/// configuration that the grants of [`all`] cover.
const ASKERS: [(&str, &str, &str); 5] = [
    ("fleet#get", "asks-fleet", "/api/x"),
    ("fleet#query", "queries-fleet", "/api/x"),
    ("cluster#get", "gets-object", "a"),
    ("cluster#find", "finds-objects", "own"),
    ("http#send", "sends-http", "https://example.com/x"),
];

fn all() -> Grants {
    Grants {
        fleet: vec![PathGrant {
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            path: "/**".to_owned(),
        }],
        cluster: vec![KindGrant {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: None,
            name: None,
        }],
        http: vec![HostGrant {
            host: "example.com".to_owned(),
            methods: vec![],
            insecure: false,
        }],
        ..Grants::default()
    }
}

/// Answers everything at once, with a text of this size.
struct Generous(usize);

#[async_trait]
impl HostCalls for Generous {
    async fn fleet(&self, _: &FleetQuestion) -> Result<Value, FleetRefusal> {
        Ok(Value::String("x".repeat(self.0)))
    }
    async fn cluster_get(&self, _: &Reference) -> Result<Value, ClusterRefusal> {
        Ok(Value::String("x".repeat(self.0)))
    }
    async fn cluster_find(&self, _: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        Ok(vec![Value::String("x".repeat(self.0))])
    }
    async fn http(&self, _: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        Ok(HttpAnswer {
            status: 200,
            headers: vec![],
            body: vec![b'x'; self.0],
        })
    }
}

/// Never answers.
struct Silent;

#[async_trait]
impl HostCalls for Silent {
    async fn fleet(&self, _: &FleetQuestion) -> Result<Value, FleetRefusal> {
        std::future::pending().await
    }
    async fn cluster_get(&self, _: &Reference) -> Result<Value, ClusterRefusal> {
        std::future::pending().await
    }
    async fn cluster_find(&self, _: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        std::future::pending().await
    }
    async fn http(&self, _: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        std::future::pending().await
    }
}

fn asking(config: &str, grants: Grants, host: impl HostCalls + 'static) -> CallContext {
    CallContext {
        config: config.into(),
        grants: Arc::new(grants),
        host: Arc::new(host),
        ..context()
    }
}

#[test]
fn every_function_that_can_be_imported_is_asked_below() {
    let contract = include_str!("../../wit/imports.wit");
    let mut interface = "";
    let mut found = Vec::new();
    for line in contract.lines() {
        if let Some(name) = line.strip_prefix("interface ") {
            interface = name.trim_end_matches(" {");
        }
        if let Some((name, _)) = line.trim().split_once(": func(") {
            found.push(format!("{interface}#{name}"));
        }
    }
    let asked: Vec<_> = std::iter::once("log#emit")
        .chain(ASKERS.iter().map(|(function, ..)| *function))
        .collect();
    assert_eq!(found, asked);
    let everything = include_str!("../../wit/worlds.wit");
    let imported = ["log", "fleet", "cluster", "http"].map(|name| format!("import {name};"));
    assert_eq!(everything.matches("import ").count(), imported.len());
    assert!(imported.iter().all(|import| everything.contains(import)));
}

#[tokio::test]
async fn every_import_is_denied_without_a_grant() {
    for (function, guest, config) in ASKERS {
        let answered = ask(guest, &asking(config, Grants::default(), Generous(3)))
            .await
            .unwrap();
        match answered.answer.said {
            Said::Preconditions(Verdict::NotApplicable(why)) => {
                assert!(why.starts_with("no grant covers"), "{function}: {why}");
                assert!(why.contains("add `"), "{function}: {why}");
            }
            other => panic!("{function} was answered: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_grant_for_one_import_opens_no_other() {
    let one = |index: usize| match index {
        0 => Grants {
            fleet: all().fleet,
            ..Grants::default()
        },
        1 => Grants {
            cluster: all().cluster,
            ..Grants::default()
        },
        _ => Grants {
            http: all().http,
            ..Grants::default()
        },
    };
    let owner = |function: &str| {
        ["fleet", "cluster", "http"]
            .iter()
            .position(|name| function.starts_with(name))
    };
    for granted in 0..3 {
        for (function, guest, config) in ASKERS {
            let answered = ask(guest, &asking(config, one(granted), Generous(3))).await.unwrap();
            let proceeds = answered.answer.said == Said::Preconditions(Verdict::Proceed);
            assert_eq!(
                proceeds,
                owner(function) == Some(granted),
                "{function} with grant {granted}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_reaches_the_guest() {
    for guest in ["asks-fleet", "queries-fleet", "gets-object"] {
        let config = if guest == "gets-object" { "a" } else { "/api/x" };
        let answered = ask(guest, &asking(config, all(), Generous(3))).await.unwrap();
        assert_eq!(answered.answer, proceed(json!("xxx")), "{guest}");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused() {
    for (function, guest, config) in ASKERS {
        let answered = ask(guest, &asking(config, all(), Generous(2 << 20))).await.unwrap();
        let proceeds = answered.answer.said == Said::Preconditions(Verdict::Proceed);
        assert!(!proceeds, "{function}: {:?}", answered.answer.said);
    }
}

/// Answers every question about the HyperFleet API with a refusal whose document has a text of this size.
struct Talkative(FleetRefusal);

impl Talkative {
    fn with(size: usize) -> [Self; 2] {
        let body = || Value::String("x".repeat(size));
        let rejected = FleetRefusal::Rejected {
            status: 422,
            body: body(),
        };
        [FleetRefusal::NotFound(body()), rejected].map(Self)
    }
}

#[async_trait]
impl HostCalls for Talkative {
    async fn fleet(&self, _: &FleetQuestion) -> Result<Value, FleetRefusal> {
        Err(self.0.clone())
    }
    async fn cluster_get(&self, _: &Reference) -> Result<Value, ClusterRefusal> {
        Err(ClusterRefusal::NotFound)
    }
    async fn cluster_find(&self, _: &Search) -> Result<Vec<Value>, ClusterRefusal> {
        Err(ClusterRefusal::NotFound)
    }
    async fn http(&self, _: &HttpQuestion) -> Result<HttpAnswer, HttpRefusal> {
        Err(HttpRefusal::TooLarge)
    }
}

#[tokio::test]
async fn the_document_of_a_refusal_is_bounded_like_an_answer() {
    async fn told(host: Talkative) -> Said {
        let asked = ask("asks-fleet", &asking("/api/x", all(), host)).await;
        asked.unwrap().answer.said
    }
    let said = |text: &str| Said::Preconditions(Verdict::NotApplicable(text.to_owned()));
    for host in Talkative::with(3) {
        assert_eq!(told(host).await, said("\"xxx\""));
    }
    for host in Talkative::with(2 << 20) {
        let clipped = "\"the answer has 2097154 bytes, more than the 1048576 of `limits.output`\"";
        assert_eq!(told(host).await, said(clipped));
    }
}

#[tokio::test]
async fn host_time_obeyed() {
    for (function, guest, config) in ASKERS {
        let answered = ask(guest, &asking(config, all(), Generous(3))).await.unwrap();
        assert_eq!(
            answered.answer.said,
            Said::Preconditions(Verdict::Proceed),
            "{function}"
        );
    }
}

#[tokio::test]
async fn host_time_violated() {
    for (function, guest, config) in ASKERS {
        let mut asking = asking(config, all(), Silent);
        asking.limits.host_time = Duration::from_millis(50);
        let cause = cause(guest, &asking).await;
        assert!(matches!(cause, Cause::HostTimeExceeded { .. }), "{function}: {cause:?}");
        assert_eq!(cause.reason(), Reason::PluginHostTimeExceeded);
    }
}
