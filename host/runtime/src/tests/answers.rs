//! What guests are told, and what becomes of what they answer.

use berth_engine::{
    contract::{
        Achievement, Condition, Draft, Failure, Manifest, Operation, Phase, Plan, StatusAnswer, StatusReport, Truth,
        Unmet,
    },
    reason::Reason,
};

use super::*;

#[tokio::test]
async fn a_guest_sees_the_facts() {
    let answered = ask("echo", &context()).await.unwrap();
    let expected = PhaseAnswer {
        said: Said::Preconditions(Verdict::NotApplicable("2026-01-01T00:00:00.000000Z".to_owned())),
        carry: json!({"kind": "Cluster", "id": "c-1", "generation": 3}),
    };
    assert_eq!(answered.answer, expected);
}

#[tokio::test]
async fn nothing_is_kept_between_calls() {
    for _ in 0..3 {
        assert_eq!(ask("remembers", &context()).await.unwrap().answer, proceed(json!(1)));
    }
}

#[tokio::test]
async fn one_instance_answers_calls_that_follow_each_other_where_that_is_allowed() {
    let question = Question::Preconditions { facts: facts().into() };
    let remembers = plugin("remembers");
    let answers = async |context: &CallContext| {
        let mut kept = Kept::default();
        let mut given = Vec::new();
        for _ in 0..3 {
            let answered = remembers.call_next(&mut kept, &question, context).await;
            given.push(answered.unwrap().answer);
        }
        given
    };
    let fresh = || proceed(json!(1));
    assert_eq!(answers(&context()).await, [fresh(), fresh(), fresh()]);
    let one = CallContext {
        one_instance: true,
        ..context()
    };
    assert_eq!(answers(&one).await, [fresh(), proceed(json!(2)), proceed(json!(3))]);
    assert_eq!(answers(&one).await[0], fresh(), "others get their own");
}

#[tokio::test]
async fn an_instance_is_not_kept_for_another_plugin_nor_after_a_trap_nor_with_much_memory_used() {
    let question = Question::Preconditions { facts: facts().into() };
    let one = |limits: Limits| CallContext {
        one_instance: true,
        limits,
        ..context()
    };
    let plugins = ["remembers", "waits", "traps"].map(|name| (name, plugin(name)));
    let ask = async |kept: &mut Kept, name: &str, context: &CallContext| {
        let (_, plugin) = plugins.iter().find(|(known, _)| *known == name).unwrap();
        let answered = plugin.call_next(kept, &question, context).await;
        answered.ok().map(|answered| answered.answer)
    };
    let ample = one(Limits::default());
    let scarce = one(Limits {
        memory: 256 << 10,
        ..Limits::default()
    });
    for (between, context) in [("waits", &ample), ("traps", &ample), ("remembers", &scarce)] {
        let mut kept = Kept::default();
        assert_eq!(ask(&mut kept, "remembers", context).await, Some(proceed(json!(1))));
        ask(&mut kept, between, context).await;
        assert_eq!(
            ask(&mut kept, "remembers", context).await,
            Some(proceed(json!(1))),
            "after `{between}`"
        );
    }
}

#[tokio::test]
async fn a_kept_instance_gives_its_place_to_another_plugin() {
    let one_place = Settings {
        concurrency: NonZeroU32::MIN,
        ..small()
    };
    let runtime = Runtime::new(&one_place).unwrap();
    let load = |name| runtime.load(&berth_test_guests::component(name)).unwrap();
    let question = Question::Preconditions { facts: facts().into() };
    let ours = CallContext {
        one_instance: true,
        ..context()
    };
    let (first, second) = (load("remembers"), load("waits"));
    for theirs in [&ours, &context()] {
        let mut kept = Kept::default();
        first.call_next(&mut kept, &question, &ours).await.unwrap();
        second.call_next(&mut kept, &question, theirs).await.unwrap();
        first.call_next(&mut kept, &question, theirs).await.unwrap();
    }
}

#[tokio::test]
async fn equal_facts_give_equal_answers_seeds_and_fuel() {
    let first = ask("tells-seed", &context()).await.unwrap();
    assert_eq!(first, ask("tells-seed", &context()).await.unwrap());
    assert_ne!(first.answer.carry, json!("0000000000000000"));
    let later = Facts {
        now: "2026-01-01T00:00:01.000000Z".to_owned(),
        ..facts()
    };
    let other = plugin("tells-seed")
        .call(&Question::Preconditions { facts: later.into() }, &context())
        .await
        .unwrap();
    assert_ne!(first.answer.carry, other.answer.carry);
}

#[tokio::test]
async fn waiting_says_for_what() {
    let verdict = Verdict::Wait {
        unmet: vec![Unmet {
            name: "a".to_owned(),
            message: "soon".to_owned(),
        }],
        recheck_after_ms: Some(1500),
    };
    let expected = PhaseAnswer {
        said: Said::Preconditions(verdict),
        carry: Value::Null,
    };
    assert_eq!(ask("waits", &context()).await.unwrap().answer, expected);
}

#[tokio::test]
async fn a_failure_keeps_its_own_reason() {
    let error = ask("fails", &context()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PluginFailed);
    let fault = error.into_fault();
    assert_eq!(
        (fault.phase, fault.reason.as_str(), fault.message.as_str()),
        (Phase::Preconditions, "NoBackend", "the sky is red")
    );
}

#[tokio::test]
async fn a_reason_that_is_none_is_replaced() {
    let failure = Failure {
        reason: "not a reason".to_owned(),
        message: "m".to_owned(),
    };
    let error = CallError {
        plugin: "p".into(),
        phase: Phase::Status,
        cause: Cause::Failed(failure),
        fuel_used: 0,
    };
    assert_eq!(error.into_fault().reason, "PluginFailed");
}

#[tokio::test]
async fn bad_output_is_named() {
    let cases = [
        (
            "answers-no-json",
            "its answer cannot be used: `carry` is not JSON: key must be a string at line 1 column 2",
        ),
        (
            "answers-deep-json",
            "its answer cannot be used: `carry` is not JSON: recursion limit exceeded at line 1 column 128",
        ),
        (
            "answers-empty",
            "its answer cannot be used: `carry` is an empty text; an absent document is `null`",
        ),
        (
            "waits-for-nothing",
            "its answer cannot be used: `verdict.wait.unmet` is empty; it must say what is waited for",
        ),
    ];
    for (guest, expected) in cases {
        let cause = cause(guest, &context()).await;
        assert_eq!(
            (cause.reason(), cause.to_string()),
            (Reason::PluginOutputInvalid, expected.to_owned()),
            "{guest}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_no_value_of_the_contract_is_invalid_output() {
    for guest in ["answers-no-utf8", "answers-beyond", "answers-no-case"] {
        let cause = cause(guest, &context()).await;
        assert!(matches!(cause, Cause::OutputInvalid { .. }), "{guest}: {cause:?}");
    }
}

#[tokio::test]
async fn a_phase_that_is_not_exported_is_unavailable() {
    let question = Question::Status {
        facts: facts().into(),
        objects: vec![],
        draft: draft(),
    };
    let error = plugin("obedient").call(&question, &context()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PluginUnavailable);
    assert_eq!(
        error.cause.to_string(),
        "it cannot be started: it does not export `status`"
    );
}

fn draft() -> Draft {
    Draft {
        journey: "achieved".to_owned(),
        conditions: vec![],
        operations: vec![],
    }
}

#[tokio::test]
async fn every_phase_is_asked_through_its_own_interface() {
    let plugin = plugin("all-phases");
    assert_eq!(plugin.phases(), Phase::ALL);
    let prepared = plugin.prepare("{\"a\":1}", &patient()).await.unwrap();
    let context = CallContext {
        prepared: prepared.into(),
        ..context()
    };
    let ask = async |question: Question| plugin.call(&question, &context).await.unwrap().answer;

    assert_eq!(
        ask(Question::Preconditions { facts: facts().into() }).await,
        proceed(json!("ok"))
    );

    let manifest = Manifest {
        name: "skipper".to_owned(),
        document: json!({"kind": "Job"}).into(),
        recreate: true,
        after: vec![],
    };
    let skip = Operation::Skip {
        name: "skipper".to_owned(),
        reason: "notyet".to_owned(),
    };
    let plan = Plan {
        operations: vec![Operation::Apply(manifest), skip],
        more: true,
    };
    let answer = ask(Question::Resources {
        facts: facts().into(),
        objects: vec![],
    })
    .await;
    assert_eq!(
        answer,
        PhaseAnswer {
            said: Said::Resources(plan),
            carry: Value::Null
        }
    );

    let pending = Achievement::Pending {
        message: "notyet".to_owned(),
        recheck_after_ms: None,
    };
    let answer = ask(Question::Postconditions {
        facts: facts().into(),
        objects: vec![],
    })
    .await;
    assert_eq!(
        answer,
        PhaseAnswer {
            said: Said::Postconditions(pending),
            carry: Value::Null
        }
    );

    let condition = Condition {
        kind: "Ready".to_owned(),
        status: Truth::Unknown,
        reason: "Because".to_owned(),
        message: "fine".to_owned(),
    };
    let report = StatusReport {
        conditions: vec![condition],
        data: json!({"a": 1}),
    };
    let answer = ask(Question::Status {
        facts: facts().into(),
        objects: vec![],
        draft: draft(),
    })
    .await;
    let expected = StatusAnswer {
        report: Some(report),
        actions: vec![],
    };
    assert_eq!(
        answer,
        PhaseAnswer {
            said: Said::Status(expected),
            carry: Value::Null
        }
    );
}

#[tokio::test]
async fn setup_lists_the_problems_of_a_configuration() {
    match plugin("all-phases").prepare("{}", &patient()).await {
        Err(PrepareError::Problems(problems)) => assert_eq!(
            problems,
            [Problem {
                path: "config".to_owned(),
                message: "too short".to_owned(),
                hint: None
            }]
        ),
        other => panic!("{other:?}"),
    }
    assert_eq!(plugin("obedient").prepare("{}", &patient()).await.unwrap(), b"");
}
