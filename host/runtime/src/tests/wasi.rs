//! Guests that need WASI get one without a world behind it.

use super::*;

fn numbers(answered: &Answered) -> Vec<u64> {
    answered
        .answer
        .carry
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn clocks_start_at_now_and_sleeping_takes_no_time() {
    let since = std::time::Instant::now();
    let answered = ask("uses-wasi", &context()).await.unwrap();
    let [first, second, _random] = numbers(&answered)[..] else {
        panic!("three numbers")
    };
    let now = 1_767_225_600_000_000; // 2026-01-01 in microseconds
    assert!((now..now + 10).contains(&first), "{first}");
    let hour = 3_600_000_000;
    assert!((now + hour..now + hour + 20).contains(&second), "{second}");
    assert!(since.elapsed() < std::time::Duration::from_secs(60));
}

#[tokio::test]
async fn clocks_and_random_numbers_are_repeatable() {
    let first = ask("uses-wasi", &context()).await.unwrap();
    assert_eq!(first, ask("uses-wasi", &context()).await.unwrap());
    let other = Facts {
        carry: json!(1),
        ..facts()
    };
    let other = plugin("uses-wasi")
        .call(&Question::Preconditions { facts: other.into() }, &context())
        .await
        .unwrap();
    assert_ne!(numbers(&first)[2], numbers(&other)[2]);
}

#[tokio::test]
async fn what_is_printed_becomes_log_lines() {
    let answered = ask("uses-wasi", &context()).await.unwrap();
    assert_eq!(
        answered.log_lines,
        [LogLine {
            level: Level::Info,
            message: "hello".to_owned()
        }]
    );
}

#[tokio::test]
async fn exiting_is_a_trap() {
    let cause = cause("exits", &context()).await;
    assert!(
        matches!(&cause, Cause::Trapped { summary, .. } if summary.starts_with("the guest exited")),
        "{cause:?}"
    );
}

#[test]
fn wasi_is_linked_for_those_who_import_it_only() {
    assert!(
        plugin("uses-wasi")
            .imports()
            .iter()
            .any(|name| name.starts_with("wasi:filesystem/types@0.2"))
    );
    assert!(
        !plugin("obedient")
            .imports()
            .iter()
            .any(|name| name.starts_with("wasi:"))
    );
}
