//! More events than a slow HyperFleet API can take: the host takes no more than its bound, does
//! not grow, and keeps no other subject waiting that comes by the same queue.
//!
//! With `BERTH_LONG` it takes ten minutes: `cargo xtask test --long`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests: a panic fails them, and a long run tells what it measured"
)]

use std::time::Duration;

use berth_tests::backpressure;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_api_slows_the_intake_and_neither_memory_nor_other_subjects_pay_for_it() {
    let long = std::env::var_os("BERTH_LONG").is_some();
    let length = Duration::from_secs(if long { 600 } else { 20 });
    let told = backpressure::run(length).await.unwrap();
    eprintln!("{told}");
    assert_eq!(told.troubles(), Vec::<String>::new(), "{told}");
}
