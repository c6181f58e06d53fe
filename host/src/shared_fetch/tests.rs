#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::AtomicUsize;

use berth_engine::{
    document::Document,
    subject::{SubjectKey, SubjectRef},
};
use serde_json::json;

use super::*;

/// Counts its GETs; fails those of `/broken`.
#[derive(Default)]
struct Counting(AtomicUsize);

#[async_trait]
impl Fleet for Counting {
    async fn get(&self, path: &str) -> Result<Document, FleetFault> {
        let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        if path == "/broken" {
            return Err(FleetFault::Gone);
        }
        Ok(json!(count).into())
    }

    async fn statuses(&self, _path: &str) -> Result<Vec<AdapterStatus>, FleetFault> {
        Ok(Vec::new())
    }

    async fn report(&self, _path: &str, _report: &Report) -> Result<Reported, FleetFault> {
        Ok(Reported::Stored)
    }

    async fn send(&self, _action: &HttpAction) -> Result<(u16, Value), FleetFault> {
        Ok((200, Value::Null))
    }
}

fn event(id: &str, href: &str) -> Event {
    Event {
        id: id.to_owned(),
        kind: "com.redhat.hyperfleet.cluster.reconcile".to_owned(),
        subject: SubjectRef {
            key: SubjectKey {
                kind: "Cluster".to_owned(),
                id: "c".to_owned(),
            },
            href: href.to_owned(),
            generation: 1,
            owner: None,
        },
        document: json!({"id": id}).into(),
    }
}

/// At a time that stands still.
fn fetches() -> Fetches {
    Fetches::new(Arc::new(|| Timestamp::UNIX_EPOCH))
}

fn trigger(id: &str) -> Trigger {
    Trigger::Event(json!({"id": id}).into())
}

#[tokio::test]
async fn the_adapters_of_one_event_share_one_get() {
    let (fetches, real) = (fetches(), Arc::new(Counting::default()));
    let fleet: Arc<dyn Fleet> = Arc::<Counting>::clone(&real);
    let _kept = fetches.begin(&event("e", "/c"));
    let adapters: Vec<_> = (0..10).map(|_| fetches.fleet(&fleet, &trigger("e"))).collect();
    let answers = futures::future::join_all(adapters.iter().map(|adapter| adapter.get("/c"))).await;
    assert!(
        answers.iter().all(|answer| *answer == Ok(json!(1).into())),
        "{answers:?}"
    );
    assert_eq!(real.0.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_adapter_that_asks_again_and_a_later_event_see_what_is_new() {
    let (fetches, real) = (fetches(), Arc::new(Counting::default()));
    let fleet: Arc<dyn Fleet> = Arc::<Counting>::clone(&real);
    let _first = fetches.begin(&event("e", "/c"));
    let adapter = fetches.fleet(&fleet, &trigger("e"));
    assert_eq!(adapter.get("/c").await, Ok(json!(1).into()));
    assert_eq!(adapter.get("/c").await, Ok(json!(2).into()));
    // The same event, delivered again.
    let _again = fetches.begin(&event("e", "/c"));
    assert_eq!(
        fetches.fleet(&fleet, &trigger("e")).get("/c").await,
        Ok(json!(3).into())
    );
    let _other = fetches.begin(&event("f", "/c"));
    assert_eq!(
        fetches.fleet(&fleet, &trigger("f")).get("/c").await,
        Ok(json!(4).into())
    );
}

#[tokio::test]
async fn an_answer_is_shared_for_a_moment_only() {
    let now = Arc::new(StdMutex::new(Timestamp::UNIX_EPOCH));
    let clock = Arc::clone(&now);
    let fetches = Fetches::new(Arc::new(move || *clock.lock().unwrap()));
    let fleet: Arc<dyn Fleet> = Arc::new(Counting::default());
    let _kept = fetches.begin(&event("e", "/c"));
    let ask = async || fetches.fleet(&fleet, &trigger("e")).get("/c").await;
    assert_eq!(ask().await, Ok(json!(1).into()));
    for (seconds, answer) in [(1, 1), (2, 2), (0, 3)] {
        *now.lock().unwrap() = Timestamp::from_second(seconds).unwrap();
        assert_eq!(ask().await, Ok(json!(answer).into()), "after {seconds} s");
    }
}

#[tokio::test]
async fn other_paths_other_triggers_and_ended_events_go_to_the_api() {
    let (fetches, real) = (fetches(), Arc::new(Counting::default()));
    let fleet: Arc<dyn Fleet> = Arc::<Counting>::clone(&real);
    let kept = fetches.begin(&event("e", "/c"));
    assert_eq!(
        fetches.fleet(&fleet, &trigger("e")).get("/owner").await,
        Ok(json!(1).into())
    );
    assert_eq!(
        fetches.fleet(&fleet, &trigger("e")).get("/owner").await,
        Ok(json!(2).into())
    );
    assert!(Arc::ptr_eq(&fetches.fleet(&fleet, &Trigger::Timer), &fleet));
    drop(kept);
    assert!(Arc::ptr_eq(&fetches.fleet(&fleet, &trigger("e")), &fleet));
}

#[tokio::test]
async fn a_failure_is_shared_too_so_that_nobody_waits_for_each_others_timeouts() {
    let (fetches, real) = (fetches(), Arc::new(Counting::default()));
    let fleet: Arc<dyn Fleet> = Arc::<Counting>::clone(&real);
    let _kept = fetches.begin(&event("e", "/broken"));
    for _ in 0..3 {
        let answer = fetches.fleet(&fleet, &trigger("e")).get("/broken").await;
        assert_eq!(answer, Err(FleetFault::Gone));
    }
    assert_eq!(real.0.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_kept_stays_as_small_as_what_is_under_way() {
    let fetches = fetches();
    for number in 0..10_000 {
        drop(fetches.begin(&event(&number.to_string(), "/c")));
    }
    assert!(fetches.by_event.lock().unwrap().capacity() < 100);
}
