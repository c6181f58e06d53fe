//! Every limit, obeyed and violated.

use std::time::Instant;

use berth_engine::reason::Reason;

use super::*;

fn with(limits: Limits) -> CallContext {
    CallContext { limits, ..context() }
}

/// Enough fuel that time runs out first.
const MUCH: u64 = u64::MAX / 2;

#[tokio::test]
async fn fuel_obeyed() {
    let answered = ask("obedient", &context()).await.unwrap();
    assert_eq!(answered.answer, proceed(Value::Null));
    assert!(
        answered.fuel_used > 0 && answered.fuel_used < 10_000,
        "{}",
        answered.fuel_used
    );
}

#[tokio::test]
async fn fuel_violated() {
    let error = ask(
        "loops",
        &with(Limits {
            fuel: 100_000,
            ..patient()
        }),
    )
    .await
    .unwrap_err();
    assert!(
        matches!(error.cause, Cause::FuelExhausted { limit: 100_000 }),
        "{error:?}"
    );
    assert_eq!(error.reason(), Reason::PluginFuelExhausted);
    assert_eq!(error.fuel_used, 100_000);
}

#[tokio::test]
async fn deadline_obeyed() {
    assert_eq!(
        ask("obedient", &with(patient())).await.unwrap().answer,
        proceed(Value::Null)
    );
}

#[tokio::test]
async fn deadline_violated() {
    let limits = Limits {
        fuel: MUCH,
        deadline: Duration::from_millis(30),
        ..patient()
    };
    let since = Instant::now();
    let cause = cause("loops", &with(limits)).await;
    assert!(matches!(cause, Cause::DeadlineExceeded { .. }), "{cause:?}");
    assert_eq!(cause.reason(), Reason::PluginDeadlineExceeded);
    assert!(since.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn a_guest_that_loops_does_not_keep_others_of_its_thread_waiting() {
    let limits = Limits {
        fuel: MUCH,
        deadline: Duration::from_secs(20),
        ..patient()
    };
    let (looping, obedient) = (with(limits), context());
    plugin("obedient");
    // The one that loops gets the thread first, and has it until its end if it does not give way.
    tokio::select! {
        biased;
        looped = cause("loops", &looping) => panic!("the neighbour waited for this: {looped:?}"),
        answered = ask("obedient", &obedient) => assert!(answered.is_ok(), "{answered:?}"),
    }
}

#[tokio::test]
async fn memory_obeyed() {
    let limits = Limits {
        memory: 64 << 20,
        ..patient()
    };
    assert_eq!(
        ask("starts-large", &with(limits)).await.unwrap().answer,
        proceed(Value::Null)
    );
}

#[tokio::test]
async fn memory_violated() {
    for guest in ["grows", "starts-large"] {
        let cause = cause(
            guest,
            &with(Limits {
                memory: 16 << 20,
                ..patient()
            }),
        )
        .await;
        assert!(
            matches!(cause, Cause::MemoryExceeded { limit } if limit == 16 << 20),
            "{guest}: {cause:?}"
        );
        assert_eq!(cause.reason(), Reason::PluginMemoryExceeded);
    }
}

#[tokio::test]
async fn the_sum_of_all_memories_counts() {
    let limits = |memory| with(Limits { memory, ..patient() });
    assert_eq!(
        ask("sums", &limits(24 << 20)).await.unwrap().answer,
        proceed(Value::Null)
    );
    let cause = cause("sums", &limits(16 << 20)).await;
    assert!(matches!(cause, Cause::MemoryExceeded { .. }), "{cause:?}");
}

#[tokio::test]
async fn tables_count_as_memory() {
    let cause = cause(
        "grows-table",
        &with(Limits {
            memory: 512 << 10,
            ..patient()
        }),
    )
    .await;
    assert!(matches!(cause, Cause::MemoryExceeded { .. }), "{cause:?}");
}

#[tokio::test]
async fn stack_violated() {
    let cause = cause("recurses", &context()).await;
    assert!(matches!(cause, Cause::StackOverflow), "{cause:?}");
    assert_eq!(cause.reason(), Reason::PluginStackOverflow);
}

fn large(size: usize) -> CallContext {
    let limits = Limits {
        memory: 200 << 20,
        fuel: MUCH,
        ..patient()
    };
    CallContext {
        config: size.to_string().into(),
        limits,
        ..context()
    }
}

#[tokio::test]
async fn output_obeyed() {
    let answered = ask("answers-large", &large(900 << 10)).await.unwrap();
    assert_eq!(answered.answer.carry.as_str().unwrap().len(), (900 << 10) - 2);
}

#[tokio::test]
async fn output_violated() {
    for size in [(1 << 20) + 1, 100 << 20] {
        let cause = cause("answers-large", &large(size)).await;
        assert!(
            matches!(cause, Cause::OutputTooLarge { limit } if limit == 1 << 20),
            "{cause:?}"
        );
        assert_eq!(cause.reason(), Reason::PluginOutputTooLarge);
    }
}

#[tokio::test]
async fn arguments_of_imports_are_output_too() {
    let cause = cause("logs-large", &context()).await;
    assert!(matches!(cause, Cause::OutputTooLarge { .. }), "{cause:?}");
}

#[tokio::test]
async fn log_lines_obeyed() {
    let answered = ask("logs", &context()).await.unwrap();
    assert_eq!((answered.log_lines.len(), answered.log_lines_dropped), (10, 0));
    assert_eq!(
        answered.log_lines[0],
        LogLine {
            level: Level::Warn,
            message: "null".to_owned()
        }
    );
}

#[tokio::test]
async fn log_lines_violated() {
    let answered = ask(
        "logs",
        &with(Limits {
            log_lines: 3,
            ..patient()
        }),
    )
    .await
    .unwrap();
    assert_eq!((answered.log_lines.len(), answered.log_lines_dropped), (3, 7));
}

#[tokio::test]
async fn a_trap_is_told_without_a_backtrace_and_the_next_call_succeeds() {
    let error = ask("traps", &context()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::PluginTrapped);
    assert_eq!(
        error.into_fault().message,
        "Plugin `p` gave no answer in `preconditions`: it trapped: wasm `unreachable` instruction executed."
    );
    assert!(ask("obedient", &context()).await.is_ok());
}

#[tokio::test]
async fn more_calls_than_slots_wait_for_their_turn() {
    let plugin = plugin("obedient");
    let (question, context) = (Question::Preconditions { facts: facts().into() }, context());
    let calls = (0..64).map(|_| plugin.call(&question, &context));
    let mut answered = 0;
    for call in calls.collect::<Vec<_>>() {
        answered += usize::from(call.await.is_ok());
    }
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (plugin, question, context) = (plugin.clone(), question.clone(), context.clone());
            tokio::spawn(async move { plugin.call(&question, &context).await.is_ok() })
        })
        .collect();
    for task in tasks {
        answered += usize::from(task.await.unwrap());
    }
    assert_eq!(answered, 128);
}
