//! Which answers are given again, and which questions are asked.

use berth_engine::{
    adapter::PathGrant,
    contract::{AdapterStatus, Diagnosis, Draft, Object, OperationEffect, OperationResult},
    diagnose::diagnose,
    subject::OwnerRef,
};
use jiff::Timestamp;

use super::*;
use crate::bindings::exported::vary::{ByPhase, Part};

const NOTHING: [u8; 4] = [0; 4];

/// What the guest `varies` is asked with, once it said what its answers vary by.
async fn varying(prepared: &[u8], limits: Limits) -> CallContext {
    let vary = plugin("varies").vary(prepared, &patient()).await.unwrap();
    assert!(vary.is_some());
    CallContext {
        prepared: prepared.into(),
        vary,
        limits,
        ..context()
    }
}

/// Whether the answer to such facts is given again.
async fn again(context: &CallContext, facts: &Facts) -> bool {
    let question = Question::Preconditions {
        facts: facts.clone().into(),
    };
    let answered = plugin("varies").call(&question, context).await.unwrap();
    // What is given again is of another document where only its status differs.
    let given = answered.answer.carry.clone();
    assert_eq!(answered.answer, proceed(given.clone()));
    assert_eq!(given["spec"], facts.subject.document["spec"]);
    assert_eq!(answered.again, answered.fuel_used == 0);
    answered.again
}

fn bits(part: Part) -> u8 {
    let all = [
        Part::TRIGGER,
        Part::SUBJECT_STATUS,
        Part::STATUSES,
        Part::OWNER,
        Part::NOW,
        Part::SEED,
    ];
    all.iter().position(|one| *one == part).map_or(0, |bit| 1 << bit)
}

fn aggregated() -> Facts {
    let mut facts = facts();
    facts.subject.document = json!({"kind": "Cluster", "id": "c-1", "generation": 3, "status": {}}).into();
    facts
}

fn reported() -> Facts {
    let status = AdapterStatus {
        adapter: "dns".to_owned(),
        observed_generation: 1,
        conditions: Vec::new(),
        data: Value::Null,
        last_report_time: String::new(),
    };
    Facts {
        statuses: vec![status],
        ..facts()
    }
}

fn owned() -> Facts {
    let mut facts = facts();
    facts.subject.owner = Some(OwnerRef {
        key: SubjectKey {
            kind: "Org".to_owned(),
            id: "o-1".to_owned(),
        },
        href: "/o-1".to_owned(),
    });
    facts
}

fn later() -> Facts {
    Facts {
        now: "2026-01-01T00:00:01.000000Z".to_owned(),
        ..facts()
    }
}

fn triggered() -> Facts {
    Facts {
        trigger: Trigger::Event(json!({"id": "e-2"}).into()),
        ..facts()
    }
}

#[tokio::test]
async fn an_answer_is_given_again_where_nothing_differs_but_what_it_does_not_vary_by() {
    let parts: [(Part, Facts); 5] = [
        (Part::TRIGGER, triggered()),
        (Part::SUBJECT_STATUS, aggregated()),
        (Part::STATUSES, reported()),
        (Part::OWNER, owned()),
        (Part::NOW, later()),
    ];
    let all = [Part::empty(), Part::SEED]
        .into_iter()
        .chain(parts.iter().map(|(part, _)| *part));
    for by in all {
        let context = varying(&[bits(by), 0, 0, 0], patient()).await;
        assert!(!again(&context, &facts()).await, "the first is asked");
        assert!(again(&context, &facts()).await, "{by:?}");
        for (part, changed) in &parts {
            let counts = by == *part || by == Part::SEED;
            assert_eq!(!again(&context, changed).await, counts, "{part:?} changed, {by:?}");
        }
        let mut changed = facts();
        changed.subject.document = json!({"kind": "Cluster", "id": "c-1", "generation": 3, "spec": {}}).into();
        assert!(!again(&context, &changed).await, "{by:?}");
        assert!(again(&context, &changed).await, "{by:?}");
        assert!(again(&context, &facts()).await, "{by:?}");
    }
}

#[tokio::test]
async fn answers_are_those_of_one_configuration() {
    let first = varying(&NOTHING, patient()).await;
    assert!(!again(&first, &facts()).await);
    let second = varying(&NOTHING, patient()).await;
    assert!(!again(&second, &facts()).await, "of the same plugin, loaded anew");
    assert!(again(&first.clone(), &facts()).await);
}

#[tokio::test]
async fn who_may_ask_somebody_is_always_asked() {
    let path = PathGrant {
        methods: vec!["GET".to_owned()],
        path: "/**".to_owned(),
    };
    let grants = Arc::new(Grants {
        fleet: vec![path],
        ..Grants::default()
    });
    let context = CallContext {
        grants,
        ..varying(&NOTHING, patient()).await
    };
    assert!(!again(&context, &facts()).await);
    assert!(!again(&context, &facts()).await);
}

#[tokio::test]
async fn who_logs_is_always_asked() {
    for log_lines in [100, 0] {
        let limits = Limits { log_lines, ..patient() };
        let context = varying(&[0, 0, 0, 0, 1], limits).await;
        assert!(!again(&context, &facts()).await);
        assert!(!again(&context, &facts()).await, "{log_lines} lines are kept");
    }
}

#[tokio::test]
async fn who_does_not_say_what_it_varies_by_is_always_asked() {
    assert!(plugin("echo").vary(b"", &patient()).await.unwrap().is_none());
    assert!(!ask("echo", &context()).await.unwrap().again);
    assert!(!ask("echo", &context()).await.unwrap().again);
}

#[tokio::test]
async fn without_room_every_question_is_asked() {
    let runtime = Runtime::new(&Settings { answers: 0, ..small() }).unwrap();
    let plugin = runtime.load(&berth_test_guests::component("varies")).unwrap();
    let context = CallContext {
        vary: plugin.vary(&NOTHING, &patient()).await.unwrap(),
        ..context()
    };
    let question = Question::Preconditions { facts: facts().into() };
    for _ in 0..2 {
        assert!(!plugin.call(&question, &context).await.unwrap().again);
    }
}

#[tokio::test]
async fn answers_take_no_more_room_than_they_may() {
    const ROOM: u64 = 256 << 10;
    let answers = crate::again::Answers::new(ROOM);
    let by = by(Part::empty());
    let vary = Vary::new(by);
    let large = proceed(json!("x".repeat(1_000)));
    let question = |number: usize| {
        let mut facts = facts();
        facts.subject.key.id = number.to_string();
        Question::Preconditions { facts: facts.into() }
    };
    let key = |number| vary.key(&question(number), &Grants::default()).unwrap();
    for number in 0..10_000 {
        answers.put(key(number), &large);
    }
    let kept = (0..10_000)
        .filter(|number| answers.get(&key(*number)).is_some())
        .count();
    assert!((1..=256).contains(&kept), "{kept} answers of more than 1,000 bytes");
}

fn by(part: Part) -> ByPhase {
    ByPhase {
        preconditions: part,
        resources: part,
        postconditions: part,
        status: part,
    }
}

#[test]
fn everything_that_a_phase_is_told_counts() {
    let vary = Vary::new(by(Part::SEED));
    let object = || Object {
        name: "work".to_owned(),
        generation: 3,
        document: json!({"kind": "Job"}).into(),
        diagnosis: diagnose(&json!({"kind": "Job"}), &[], &[], Timestamp::UNIX_EPOCH),
    };
    let draft = || Draft {
        journey: "achieved".to_owned(),
        conditions: Vec::new(),
        operations: vec![OperationResult {
            name: "work".to_owned(),
            effect: OperationEffect::Created,
        }],
    };
    let question = |facts: Facts, objects: Vec<Object>, draft: Draft| Question::Status {
        facts: facts.into(),
        objects,
        draft,
    };
    let with_facts = |change: fn(&mut Facts)| {
        let mut facts = facts();
        change(&mut facts);
        question(facts, vec![object()], draft())
    };
    let with_object = |change: fn(&mut Object)| {
        let mut object = object();
        change(&mut object);
        question(facts(), vec![object], draft())
    };
    let with_diagnosis = |change: fn(&mut Diagnosis)| {
        let mut object = object();
        object.diagnosis.iter_mut().for_each(change);
        question(facts(), vec![object], draft())
    };
    let with_draft = |change: fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        question(facts(), vec![object()], draft)
    };
    let questions = [
        question(facts(), vec![object()], draft()),
        Question::Preconditions { facts: facts().into() },
        Question::Resources {
            facts: facts().into(),
            objects: vec![object()],
        },
        Question::Postconditions {
            facts: facts().into(),
            objects: vec![object()],
        },
        question(facts(), Vec::new(), draft()),
        question(facts(), vec![object(), object()], draft()),
        question(later(), vec![object()], draft()),
        question(triggered(), vec![object()], draft()),
        with_facts(|facts| facts.carry = json!(1)),
        with_facts(|facts| facts.subject.deleting = true),
        with_facts(|facts| facts.subject.generation = 4),
        question(reported(), vec![object()], draft()),
        question(aggregated(), vec![object()], draft()),
        question(owned(), vec![object()], draft()),
        with_object(|object| object.name = "other".to_owned()),
        with_object(|object| object.generation = 2),
        with_object(|object| object.document = json!({"kind": "Pod"}).into()),
        with_object(|object| object.diagnosis = None),
        with_diagnosis(|diagnosis| diagnosis.reason = "B".to_owned()),
        with_diagnosis(|diagnosis| diagnosis.message = "c".to_owned()),
        with_diagnosis(|diagnosis| diagnosis.exit_code = Some(0)),
        with_diagnosis(|diagnosis| diagnosis.termination_message = Some(String::new())),
        with_diagnosis(|diagnosis| diagnosis.attempt = Some(2)),
        with_diagnosis(|diagnosis| {
            diagnosis.exits.push(berth_engine::contract::ContainerExit {
                container: "a".to_owned(),
                exit_code: 0,
                reason: String::new(),
                message: String::new(),
            });
        }),
        with_draft(|draft| draft.journey = "waiting".to_owned()),
        with_draft(|draft| draft.operations[0].name = "other".to_owned()),
        with_draft(|draft| draft.operations[0].effect = OperationEffect::Unchanged),
        with_draft(|draft| draft.operations[0].effect = OperationEffect::Skipped("why".to_owned())),
        with_draft(|draft| draft.operations.clear()),
    ];
    let keys: std::collections::HashSet<_> = questions
        .iter()
        .map(|question| vary.key(question, &Grants::default()).unwrap())
        .collect();
    assert_eq!(keys.len(), questions.len());
}
