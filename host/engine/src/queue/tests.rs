#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail by panicking")]

use super::*;
use crate::{reconcile::Reported, report::Journey};

fn subject(id: &str, generation: u32) -> SubjectRef {
    SubjectRef {
        key: SubjectKey {
            kind: "Cluster".into(),
            id: id.into(),
        },
        href: format!("/clusters/{id}"),
        generation,
        owner: None,
    }
}

fn event(name: &str) -> Trigger {
    Trigger::Event(serde_json::json!({ "id": name }).into())
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

fn reported(recheck: Recheck) -> Outcome {
    Outcome::Reported(Reported {
        journey: Journey::Achieved { message: String::new() },
        recheck,
        await_namespace: None,
        memory: Memory::default(),
    })
}

fn retry(after: Option<Duration>) -> Outcome {
    Outcome::Retry {
        reason: Reason::FleetApiUnreachable,
        message: String::new(),
        after,
    }
}

#[test]
fn a_pair_runs_once_at_a_time_and_again_for_what_came_meanwhile() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    let job = queue.pop(at(0)).unwrap();
    queue.push("lz", subject("c", 2), event("two"), Some(2));
    queue.push("lz", subject("c", 2), event("three"), Some(3));
    assert_eq!(queue.pop(at(0)), None);
    assert_eq!(
        queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5),
        Settled::Done(vec![1])
    );
    let again = queue.pop(at(1)).unwrap();
    assert_eq!((again.subject.generation, again.trigger), (2, event("three")));
    assert_eq!(
        queue.finish(at(2), &again.pair, &reported(Recheck::Never), 0.5),
        Settled::Done(vec![2, 3])
    );
    assert_eq!(queue.pop(at(3)), None);
}

#[test]
fn a_late_event_does_not_lower_the_generation() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 5), event("new"), None);
    queue.push("lz", subject("c", 2), event("late"), None);
    assert_eq!(queue.pop(at(0)).unwrap().subject.generation, 5);
}

#[test]
fn an_event_is_not_hidden_by_a_change() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), None);
    queue.push("lz", subject("c", 1), Trigger::Timer, None);
    assert_eq!(queue.pop(at(0)).unwrap().trigger, event("one"));
}

#[test]
fn adapters_take_turns() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    for id in ["a", "b", "c"] {
        queue.push("busy", subject(id, 1), event(id), None);
    }
    queue.push("quiet", subject("a", 1), event("a"), None);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(0)))
        .map(|job| job.pair.adapter)
        .collect();
    assert_eq!(order, ["busy", "quiet", "busy", "busy"]);
}

fn change() -> Trigger {
    Trigger::Change(crate::contract::Reference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: None,
        name: "c".into(),
    })
}

#[test]
fn what_waits_is_stood_for_by_a_newer_event_and_what_runs_is_not() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    let job = queue.pop(at(0)).unwrap();
    queue.push("lz", subject("c", 2), event("two"), Some(2));
    queue.push("lz", subject("c", 2), event("http"), Some(3));
    assert_eq!(queue.supersede(&job.pair, |ticket| *ticket != 3), [2]);
    queue.push("lz", subject("c", 3), event("three"), Some(4));
    assert_eq!(
        queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5),
        Settled::Done(vec![1])
    );
    let again = queue.pop(at(1)).unwrap();
    assert_eq!((again.subject.generation, again.trigger), (3, event("three")));
    assert_eq!(
        queue.finish(at(2), &again.pair, &reported(Recheck::Never), 0.5),
        Settled::Done(vec![3, 4])
    );
}

#[test]
fn a_subject_is_known_once_whichever_adapters_heard_of_it() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.push("one", subject("a", 1), event("e"), None);
    queue.push("two", subject("a", 2), event("e"), None);
    queue.push("two", subject("b", 1), event("e"), None);
    assert_eq!(queue.known(|_| true), [subject("a", 2), subject("b", 1)]);
    assert_eq!(queue.known(|pair| pair.adapter == "one"), [subject("a", 1)]);
}

#[test]
fn an_event_about_what_is_gone_does_not_wait_for_its_cleanup() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(7));
    let job = queue.pop(at(0)).unwrap();
    let cleaning = Outcome::Retry {
        reason: Reason::CleanupInProgress,
        message: String::new(),
        after: None,
    };
    assert_eq!(queue.finish(at(0), &job.pair, &cleaning, 0.5), Settled::Done(vec![7]));
    assert_eq!(queue.next_due(), Some(at(1)), "the cleanup goes on");
}

#[test]
fn events_come_before_changes_and_neither_starves() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    for number in 0..8 {
        queue.push("lz", subject(&format!("c{number}"), 1), change(), None);
    }
    for number in 0..6 {
        queue.push("lz", subject(&format!("e{number}"), 1), event("e"), None);
    }
    // An event has a pair that stands in line already go before the others of its kind.
    queue.push("lz", subject("c7", 1), event("e"), None);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(0)))
        .map(|job| job.pair.subject.id)
        .collect();
    let expected = "c7 e0 e1 c0 e2 e3 e4 c1 e5 c2 c3 c4 c5 c6";
    assert_eq!(order.join(" "), expected);
    assert_eq!(queue.depth(), (0, 14));
}

#[test]
fn an_adapter_leaves_one_slot_in_four_to_another_that_waits() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.set_slots(8);
    for number in 0..8 {
        queue.push("busy", subject(&format!("b{number}"), 1), event("e"), None);
    }
    let mut running: Vec<_> = std::iter::from_fn(|| queue.pop(at(0))).take(8).collect();
    assert_eq!(running.len(), 8, "nobody else waits");
    for number in 8..20 {
        queue.push("busy", subject(&format!("b{number}"), 1), event("e"), None);
        queue.push("quiet", subject(&format!("q{number}"), 1), event("e"), None);
    }
    // Each that ends makes room for the other, until that has what is kept from the busy one.
    for _ in 0..2 {
        let ended = running.remove(0);
        queue.finish(at(0), &ended.pair, &reported(Recheck::Never), 0.5);
        assert_eq!(queue.pop(at(0)).unwrap().pair.adapter, "quiet");
    }
    let ended = running.remove(0);
    queue.finish(at(0), &ended.pair, &reported(Recheck::Never), 0.5);
    let turns: Vec<_> = std::iter::from_fn(|| queue.pop(at(0))).take(1).collect();
    assert_eq!(turns[0].pair.adapter, "busy", "they take turns below their shares");
}

#[test]
fn slow_subjects_leave_one_slot_in_four_to_others_however_many_wait() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.set_slots(4);
    for number in 0..6 {
        queue.push("lz", subject(&format!("s{number}"), 1), event("e"), None);
        let job = queue.pop(at(0)).unwrap();
        queue.finish(at(2), &job.pair, &reported(Recheck::Never), 0.5);
    }
    for number in 0..6 {
        queue.push("lz", subject(&format!("s{number}"), 2), event("e"), None);
    }
    queue.push("lz", subject("swift", 1), event("e"), None);
    let order: Vec<_> = std::iter::from_fn(|| queue.pop(at(3))).collect();
    let ids: Vec<_> = order.iter().map(|job| job.pair.subject.id.as_str()).collect();
    assert_eq!(
        ids,
        ["s0", "s1", "s2", "swift"],
        "the fourth slot is for who is not known to be slow"
    );
    // One that was swift this time is not slow any more; another slow one takes its place.
    queue.finish(at(3), &order[0].pair, &reported(Recheck::Never), 0.5);
    assert_eq!(queue.pop(at(3)).unwrap().pair.subject.id, "s3");
    assert_eq!(queue.pop(at(3)), None);
    queue.push("lz", subject("s0", 3), event("e"), None);
    assert_eq!(queue.pop(at(3)).unwrap().pair.subject.id, "s0");
}

#[test]
fn trouble_is_looked_at_after_five_seconds_rising_to_five_minutes() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), None);
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..9 {
        let job = queue.pop(now).unwrap();
        queue.finish(now, &job.pair, &reported(Recheck::Trouble { at_least: None }), 0.5);
        let due = queue.next_due().unwrap();
        waits.push(due.duration_since(now).as_secs());
        assert_eq!(queue.pop(now), None);
        now = due;
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
}

#[test]
fn what_the_other_side_asks_for_is_obeyed() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(7));
    let job = queue.pop(at(0)).unwrap();
    let after = Duration::from_secs(42);
    assert_eq!(
        queue.finish(at(0), &job.pair, &retry(Some(after)), 0.0),
        Settled::Retry(vec![7], after, Reason::FleetApiUnreachable)
    );
    // Its own time comes only if nobody brings the event again.
    assert_eq!(queue.next_due(), Some(at(84)));
    queue.push("lz", subject("c", 1), event("one"), Some(7));
    assert!(queue.pop(at(42)).is_some());
    assert_eq!(queue.next_due(), None);
}

#[test]
fn what_is_refused_for_good_is_not_tried_again_by_itself() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(7));
    let job = queue.pop(at(0)).unwrap();
    let outcome = Outcome::Refused {
        reason: Reason::ReportRejected,
        message: "400".to_owned(),
    };
    assert_eq!(
        queue.finish(at(0), &job.pair, &outcome, 0.5),
        Settled::Refused(vec![7], Reason::ReportRejected, "400".to_owned())
    );
    assert_eq!(queue.next_due(), None);
    // The next event is another chance.
    queue.push("lz", subject("c", 2), event("two"), Some(8));
    assert_eq!(queue.pop(at(1)).unwrap().subject.generation, 2);
}

#[test]
fn an_event_comes_before_the_timer_and_cancels_it() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), None);
    let job = queue.pop(at(0)).unwrap();
    queue.finish(at(0), &job.pair, &reported(Recheck::In(Duration::from_secs(60))), 0.5);
    queue.push("lz", subject("c", 1), event("two"), None);
    let job = queue.pop(at(1)).unwrap();
    queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5);
    assert_eq!(queue.next_due(), None);
    assert_eq!(queue.pop(at(100)), None);
}

#[test]
fn changes_that_never_end_are_slowed_down_and_an_event_is_not() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    let change = || {
        Trigger::Change(crate::contract::Reference {
            api_version: "v1".into(),
            kind: "ConfigMap".into(),
            namespace: None,
            name: "c".into(),
        })
    };
    queue.push("lz", subject("c", 1), event("one"), None);
    let (mut now, mut runs) = (at(0), 0);
    while now < at(60) {
        match queue.pop(now) {
            Some(job) => {
                runs += 1;
                queue.push("lz", subject("c", 1), change(), None);
                queue.finish(now, &job.pair, &reported(Recheck::Never), 0.5);
            }
            None => now = queue.next_due().unwrap(),
        }
    }
    assert!(runs < 25, "{runs}");
    queue.push("lz", subject("c", 1), event("two"), None);
    assert_eq!(queue.pop(now).unwrap().trigger, event("two"));
}

#[test]
fn a_subject_that_is_finalized_is_forgotten() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    let job = queue.pop(at(0)).unwrap();
    let mut outcome = reported(Recheck::Never);
    if let Outcome::Reported(reported) = &mut outcome {
        reported.journey = Journey::Finalized;
    }
    queue.finish(at(0), &job.pair, &outcome, 0.5);
    assert_eq!(queue.subject(&job.pair), None);
}

#[test]
fn a_subject_that_is_gone_is_forgotten() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    let job = queue.pop(at(0)).unwrap();
    assert_eq!(
        queue.finish(at(0), &job.pair, &Outcome::Gone, 0.5),
        Settled::Done(vec![1])
    );
    assert_eq!(queue.subject(&job.pair), None);
}

#[test]
fn rousing_reaches_the_pairs_that_were_named_and_no_others() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    for (adapter, id) in [("a", "1"), ("b", "1"), ("b", "2"), ("c", "1")] {
        queue.push(adapter, subject(id, 1), event("one"), None);
        let job = queue.pop(at(0)).unwrap();
        queue.finish(at(0), &job.pair, &reported(Recheck::Never), 0.5);
    }
    let roused = |queue: &mut Queue<()>| -> Vec<String> {
        let jobs: Vec<_> = std::iter::from_fn(|| queue.pop(at(1))).collect();
        for job in &jobs {
            queue.finish(at(1), &job.pair, &reported(Recheck::Never), 0.5);
        }
        jobs.iter()
            .map(|job| format!("{} {}", job.pair.adapter, job.pair.subject.id))
            .collect()
    };
    queue.rouse("b", Some(&subject("2", 1).key));
    assert_eq!(roused(&mut queue), ["b 2"]);
    queue.rouse("b", None);
    assert_eq!(roused(&mut queue), ["b 1", "b 2"]);
    queue.rouse("nobody", None);
    assert_eq!(roused(&mut queue), Vec::<String>::new());
}

#[test]
fn subjects_are_found_by_their_owner_until_they_or_their_adapter_are_gone() {
    let mut queue: Queue<()> = Queue::new(Rhythms::default());
    let owner = subject("c", 1).key;
    for id in ["p", "q"] {
        let owned = SubjectRef {
            owner: Some(crate::subject::OwnerRef {
                key: owner.clone(),
                href: String::new(),
            }),
            ..subject(id, 1)
        };
        queue.push("size", owned, event(id), None);
    }
    // A trigger that does not say whose it is takes nothing back.
    queue.push("size", subject("p", 2), event("p"), None);
    let ids = |queue: &Queue<()>| -> Vec<String> {
        let owned = queue.owned_by("size", &owner);
        owned.into_iter().map(|key| key.id).collect()
    };
    assert_eq!(ids(&queue), ["p", "q"]);
    let job = queue.pop(at(0)).unwrap();
    queue.finish(at(0), &job.pair, &Outcome::Gone, 0.5);
    assert_eq!(ids(&queue), ["q"]);
    // What runs goes with its end, what waits at once.
    queue.forget("size");
    assert!(ids(&queue).is_empty());
}

#[test]
fn nothing_is_kept_of_an_adapter_that_was_removed() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("runs", 1), event("one"), Some(1));
    queue.push("lz", subject("due", 1), event("two"), Some(2));
    let running = queue.pop(at(0)).unwrap();
    let timed = queue.pop(at(0)).unwrap();
    let later = reported(Recheck::In(Duration::from_secs(5)));
    queue.finish(at(0), &timed.pair, &later, 0.5);
    queue.push("lz", subject("waits", 1), event("three"), Some(3));
    queue.push("lz", running.subject.clone(), event("four"), Some(4));
    queue.push("dns", subject("waits", 1), event("three"), Some(5));

    let mut given_back = queue.forget("lz");
    given_back.sort_unstable();
    assert_eq!(given_back, [3, 4]);
    assert_eq!(queue.next_due(), None);
    assert_eq!(
        queue.finish(at(1), &running.pair, &later, 0.5),
        Settled::Done(vec![1]),
        "what ran ends as it began"
    );
    assert_eq!(queue.next_due(), None);
    assert_eq!(queue.entries.len(), 1);
    assert_eq!(queue.pop(at(100)).unwrap().pair.adapter, "dns");
    assert_eq!(queue.pop(at(100)), None);
}

#[test]
fn an_adapter_that_comes_back_while_its_old_run_ends_is_remembered() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    let running = queue.pop(at(0)).unwrap();
    queue.forget("lz");
    queue.push("lz", subject("c", 2), event("two"), Some(2));
    let later = reported(Recheck::In(Duration::from_secs(5)));
    queue.finish(at(0), &running.pair, &later, 0.5);
    let again = queue.pop(at(0)).unwrap();
    assert_eq!(again.subject.generation, 2);
    assert_eq!(queue.finish(at(0), &again.pair, &later, 0.5), Settled::Done(vec![2]));
    assert_eq!(queue.next_due(), Some(at(5)));
}

#[test]
fn stopping_gives_every_waiting_ticket_back() {
    let mut queue = Queue::new(Rhythms::default());
    queue.push("lz", subject("c", 1), event("one"), Some(1));
    queue.push("lz", subject("d", 1), event("two"), Some(2));
    let running = queue.pop(at(0)).unwrap();
    assert_eq!(queue.drain(), [2]);
    assert_eq!(
        queue.finish(at(0), &running.pair, &reported(Recheck::Never), 0.5),
        Settled::Done(vec![1])
    );
    assert_eq!(queue.pop(at(9)), None);
}
