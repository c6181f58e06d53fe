#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::VecDeque;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::mpsc;

use super::*;

/// Answers as told; then everything is done.
struct Script {
    answers: Mutex<VecDeque<Settled>>,
    seen: mpsc::UnboundedSender<String>,
    aside: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Sink for Script {
    async fn accept(&self, event: Event) -> Settled {
        self.seen.send(event.id).unwrap();
        self.answers.lock().unwrap().pop_front().unwrap_or(Settled::Done)
    }

    fn refused(&self, reason: &'static str) {
        panic!("a broker has no sender to tell {reason}");
    }

    fn set_aside(&self, reason: &'static str) {
        self.aside.lock().unwrap().push(reason);
    }
}

struct Bench {
    intake: Arc<Intake>,
    script: Arc<Script>,
    seen: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
}

fn bench(answers: &[Settled], policy: Policy) -> Bench {
    let (sender, seen) = mpsc::unbounded_channel();
    let script = Arc::new(Script {
        answers: Mutex::new(answers.to_vec().into()),
        seen: sender,
        aside: Mutex::default(),
    });
    let stop = CancellationToken::new();
    let sink: Arc<dyn Sink> = Arc::<Script>::clone(&script);
    Bench {
        intake: Arc::new(Intake::new(sink, policy, stop.clone())),
        script,
        seen,
        stop,
    }
}

const POLICY: Policy = Policy {
    max_bytes: 1_000,
    max_attempts: NonZeroU32::new(2),
    hold: Duration::from_secs(600),
    keeps_last: false,
};
const LATER: Settled = Settled::Retry {
    after: Duration::from_secs(30),
    counts: false,
};
/// As [`LATER`], and it is the event's own failure.
const FAILED: Settled = Settled::Retry {
    after: Duration::from_secs(30),
    counts: true,
};

fn body(id: &str, subject: &str, generation: u32) -> Vec<u8> {
    json!({"specversion": "1.0", "id": id, "source": "hyperfleet-sentinel",
        "type": "com.redhat.hyperfleet.cluster.reconcile", "data": {"id": subject, "generation": generation}})
    .to_string()
    .into_bytes()
}

impl Bench {
    /// Delivers in a task of its own.
    fn deliver(&self, id: &str, subject: &str, generation: u32) -> tokio::task::JoinHandle<Settle> {
        let (intake, body) = (Arc::clone(&self.intake), body(id, subject, generation));
        tokio::spawn(async move {
            let message = Message {
                id: "m",
                body: &body,
                attempt: Some(2),
            };
            intake.deliver(message).await
        })
    }

    async fn next(&mut self) -> String {
        self.seen.recv().await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_be_retried_is_held_and_handed_on_again_until_it_is_done() {
    let mut bench = bench(&[LATER, LATER], POLICY);
    let begun = tokio::time::Instant::now();
    let settle = bench.deliver("e", "c", 1).await.unwrap();
    assert_eq!(settle, Settle::Ack);
    assert_eq!(begun.elapsed().as_secs(), 60);
    for _ in 0..3 {
        assert_eq!(bench.next().await, "e");
    }
}

#[tokio::test(start_paused = true)]
async fn what_would_be_held_for_too_long_goes_back_or_aside() {
    let policy = Policy {
        hold: Duration::from_secs(29),
        max_attempts: None,
        ..POLICY
    };
    let settle = bench(&[LATER], policy).deliver("e", "c", 1).await.unwrap();
    assert_eq!(settle, Settle::RetryAfter(Duration::from_secs(30)));

    let bench = bench(&[FAILED], POLICY);
    let settle = bench.deliver("e", "c", 1).await.unwrap();
    assert_eq!(reason(&settle), Some("AttemptsExhausted"), "{settle:?}");
    assert_eq!(*bench.script.aside.lock().unwrap(), ["AttemptsExhausted"]);
}

fn reason(settle: &Settle) -> Option<&'static str> {
    match settle {
        Settle::SetAside { reason, .. } => Some(reason),
        Settle::Ack | Settle::RetryAfter(_) => None,
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_it_is_held_counts_as_further_deliveries_do_and_an_outage_does_not() {
    let policy = Policy {
        max_attempts: NonZeroU32::new(4),
        ..POLICY
    };
    // The second delivery; then two more failures.
    let settle = bench(&[LATER, FAILED, LATER, LATER, FAILED, FAILED], policy)
        .deliver("e", "c", 1)
        .await
        .unwrap();
    assert_eq!(reason(&settle), Some("AttemptsExhausted"), "{settle:?}");
    let outage = [LATER; 15];
    let settle = bench(&outage, policy).deliver("e", "c", 1).await.unwrap();
    assert_eq!(settle, Settle::Ack);
}

#[tokio::test(start_paused = true)]
async fn the_lower_limit_holds_the_brokers_or_ours() {
    for (brokers, expected) in [(NonZeroU32::new(2), Some("AttemptsExhausted")), (None, None)] {
        let policy = Policy {
            max_attempts: NonZeroU32::new(9),
            ..POLICY
        };
        let bench = bench(&[FAILED], policy);
        bench.intake.delivers_at_most(brokers);
        let settle = bench.deliver("e", "c", 1).await.unwrap();
        assert_eq!(reason(&settle), expected);
    }
}

#[tokio::test]
async fn what_was_delivered_too_often_is_set_aside_unseen() {
    let mut bench = bench(&[], POLICY);
    let message = Message {
        id: "m",
        body: &body("poison", "c", 1),
        attempt: Some(3),
    };
    let settle = bench.intake.deliver(message).await;
    assert_eq!(reason(&settle), Some("DeliveriesExhausted"));
    assert!(bench.seen.try_recv().is_err());
    assert_eq!(*bench.script.aside.lock().unwrap(), ["DeliveriesExhausted"]);
}

#[test]
fn what_would_not_be_delivered_again_is_kept_as_long_as_an_outage_lasts() {
    let policy = Policy {
        keeps_last: true,
        ..POLICY
    };
    let hold = Some(Duration::from_secs(600));
    let limit = NonZeroU32::new(5);
    assert_eq!(policy.keeps(Some(4), limit), hold);
    assert_eq!(policy.keeps(Some(5), limit), None);
    assert_eq!(policy.keeps(None, limit), hold, "nobody counts");
    assert_eq!(policy.keeps(Some(5), None), hold, "there is no last one");
    assert_eq!(POLICY.keeps(Some(5), limit), hold, "the broker would take it away");
}

#[tokio::test(start_paused = true)]
async fn a_panic_fails_its_own_event_and_is_set_aside_in_the_end() {
    struct Panics;
    #[async_trait]
    impl Sink for Panics {
        async fn accept(&self, _: Event) -> Settled {
            panic!("a defect");
        }

        fn refused(&self, _: &'static str) {}

        fn set_aside(&self, _: &'static str) {}
    }
    let intake = Intake::new(Arc::new(Panics), POLICY, CancellationToken::new());
    let message = Message {
        id: "m",
        body: &body("e", "c", 1),
        attempt: None,
    };
    let settle = intake.deliver(message).await;
    assert_eq!(reason(&settle), Some("AttemptsExhausted"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_for_good_is_set_aside_at_once_with_its_reason() {
    let refused = Settled::Refused {
        reason: "ReportRejected",
        message: "answered 400".to_owned(),
    };
    let bench = bench(&[refused], POLICY);
    let begun = tokio::time::Instant::now();
    let settle = bench.deliver("e", "c", 1).await.unwrap();
    let expected = Settle::SetAside {
        reason: "ReportRejected",
        message: "answered 400".to_owned(),
    };
    assert_eq!(settle, expected);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(*bench.script.aside.lock().unwrap(), ["ReportRejected"]);
}

#[tokio::test(start_paused = true)]
async fn of_events_held_for_one_subject_the_newest_stands_for_all() {
    let mut bench = bench(&[LATER, LATER, LATER, LATER], POLICY);
    let first = bench.deliver("first", "c", 2);
    assert_eq!(bench.next().await, "first");
    let other = bench.deliver("other", "d", 1);
    assert_eq!(bench.next().await, "other");
    let second = bench.deliver("second", "c", 3);
    // Its place is taken at once, long before its time.
    assert_eq!(first.await.unwrap(), Settle::Ack);
    let older = bench.deliver("older", "c", 1);
    assert_eq!(older.await.unwrap(), Settle::Ack);
    assert!(!second.is_finished() && !other.is_finished());
    assert_eq!(second.await.unwrap(), Settle::Ack);
    assert_eq!(other.await.unwrap(), Settle::Ack);
    let mut handed_on = vec![
        bench.next().await,
        bench.next().await,
        bench.next().await,
        bench.next().await,
    ];
    handed_on.sort();
    assert_eq!(handed_on, ["older", "other", "second", "second"]);
    assert!(bench.intake.held().by_subject.is_empty());
}

/// Two deliveries of one message, the second of which waits.
async fn twice(answers: &[Settled]) -> (Bench, [tokio::task::JoinHandle<Settle>; 2]) {
    let mut bench = bench(answers, POLICY);
    let first = bench.deliver("same", "c", 1);
    bench.next().await;
    let second = bench.deliver("same", "c", 1);
    bench.next().await;
    let waiting = |bench: &Bench| bench.intake.held().by_subject.values().any(|one| one.ticket == 2);
    while !waiting(&bench) {
        tokio::task::yield_now().await;
    }
    (bench, [first, second])
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_a_message_that_is_held_acknowledges_neither_before_it_is_reported() {
    let (mut bench, [first, second]) = twice(&[LATER, LATER, LATER]).await;
    // The second stands for both, and is tried again.
    assert_eq!(bench.next().await, "same");
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!(first.await.unwrap(), Settle::Ack);
    assert_eq!(second.await.unwrap(), Settle::Ack);
    assert_eq!(bench.next().await, "same");
    assert!(bench.seen.try_recv().is_err(), "the first is not handed on besides");
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_one_copy_becomes_of_the_other_but_it_is_set_aside_once() {
    let (bench, [first, second]) = twice(&[LATER, LATER]).await;
    bench.stop.cancel();
    assert_eq!(first.await.unwrap(), Settle::RetryAfter(Duration::ZERO));
    assert_eq!(second.await.unwrap(), Settle::RetryAfter(Duration::ZERO));

    let refused = Settled::Refused {
        reason: "ReportRejected",
        message: String::new(),
    };
    let (bench, [first, second]) = twice(&[LATER, LATER, refused]).await;
    let back = first.await.unwrap();
    assert!(matches!(back, Settle::RetryAfter(_)), "{back:?}");
    assert_eq!(reason(&second.await.unwrap()), Some("ReportRejected"));
    assert_eq!(*bench.script.aside.lock().unwrap(), ["ReportRejected"]);
}

#[tokio::test(start_paused = true)]
async fn when_the_host_stops_what_is_held_goes_back_at_once_and_is_never_set_aside() {
    let mut bench = bench(&[LATER, LATER], POLICY);
    let held = bench.deliver("e", "c", 1);
    assert_eq!(bench.next().await, "e");
    bench.stop.cancel();
    assert_eq!(held.await.unwrap(), Settle::RetryAfter(Duration::ZERO));
    let late = bench.deliver("late", "c", 1);
    assert_eq!(late.await.unwrap(), Settle::RetryAfter(Duration::ZERO));
    assert!(bench.script.aside.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_can_never_be_handled_is_set_aside_unseen() {
    let mut bench = bench(&[], POLICY);
    for (body, reason) in [
        (b"{".to_vec(), "EventNotJson"),
        (b"[]".to_vec(), "EventNotAnObject"),
        (vec![b' '; 1_001], "BodyTooLarge"),
    ] {
        let message = Message {
            id: "m",
            body: &body,
            attempt: None,
        };
        let settle = bench.intake.deliver(message).await;
        assert!(
            matches!(&settle, Settle::SetAside { reason: found, .. } if *found == reason),
            "{settle:?}"
        );
    }
    let aside = ["EventNotJson", "EventNotAnObject", "BodyTooLarge"];
    assert_eq!(*bench.script.aside.lock().unwrap(), aside);
    assert!(bench.seen.try_recv().is_err());
}

#[test]
fn only_the_beginning_of_a_body_is_shown() {
    assert_eq!(beginning(&[b'x'; 5_000]).len(), 1_024);
    assert_eq!(beginning(b"short"), "short");
}
