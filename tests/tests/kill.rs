//! Three hosts, while everything around them and they themselves die: nothing is lost, nothing
//! is done twice.
//!
//! `BERTH_KILL_SEED` repeats the faults of a run. With `BERTH_LONG` the run is the long one,
//! which goes on where it was interrupted: `cargo xtask test --kill --long`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests: a panic fails them, and a long run tells what it did"
)]

use berth_tests::kill::{self, LONG, Options, SHORT, world::progress_file};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_are_killed_at_any_time_lose_nothing_and_do_nothing_twice() {
    let chosen = std::env::var("BERTH_KILL_SEED").ok();
    let chosen = chosen.map(|text| text.parse().unwrap_or_else(|_| panic!("{text} is no seed")));
    let random = || u64::from(uuid::Uuid::new_v4().as_fields().0);
    let options = if std::env::var_os("BERTH_LONG").is_some() {
        let file = progress_file();
        Options {
            seed: chosen.or_else(|| kill::unfinished(&file)).unwrap_or_else(random),
            scale: LONG,
            progress: Some(file),
        }
    } else {
        Options {
            seed: chosen.unwrap_or_else(random),
            scale: SHORT,
            progress: None,
        }
    };
    eprintln!("BERTH_KILL_SEED={}", options.seed);
    match kill::run(&options).await {
        Ok(progress) => eprintln!("{progress:#?}"),
        Err(error) => panic!("{error:#}"),
    }
}
