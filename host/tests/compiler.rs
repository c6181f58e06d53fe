//! The compiler in a process of its own, as a host starts it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{path::PathBuf, time::Duration};

use berth::plugins::DECLARATIVE;
use berth_engine::contract::Phase;
use berth_runtime::{CacheSettings, Compiler, LoadError, Runtime, Settings};

fn berth(time: Duration) -> Settings {
    Settings {
        compiler: Some(Compiler {
            program: PathBuf::from(env!("CARGO_BIN_EXE_berth")),
            time,
            ..Compiler::of_this_program(&["compile-component"])
        }),
        ..Settings::default()
    }
}

#[test]
fn a_host_runs_what_its_compiler_made_with_a_cache_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let cached = Settings {
        cache: Some(CacheSettings {
            folder: cache.clone(),
            size: 1 << 30,
            key: None,
        }),
        ..berth(Duration::from_secs(120))
    };
    for settings in [&cached, &berth(Duration::from_secs(120))] {
        let plugin = Runtime::new(settings).unwrap().load(DECLARATIVE).unwrap();
        assert_eq!(plugin.phases(), Phase::ALL);
    }
    assert_eq!(std::fs::read_dir(cache).unwrap().count(), 1);
    // Found there by a host that could not compile.
    let without = Settings {
        cache: cached.cache,
        ..berth(Duration::ZERO)
    };
    assert!(Runtime::new(&without).unwrap().load(DECLARATIVE).is_ok());
}

#[test]
fn what_is_no_component_or_takes_too_long_is_refused_and_nothing_else_waits_for_it() {
    let runtime = Runtime::new(&berth(Duration::from_secs(120))).unwrap();
    match runtime.load(b"hello").unwrap_err() {
        LoadError::Invalid(why) => assert!(format!("{why:#}").contains("bad magic number"), "{why:#}"),
        error => panic!("{error:?}"),
    }
    let hurried = Runtime::new(&berth(Duration::from_millis(1))).unwrap();
    let error = hurried.load(DECLARATIVE).unwrap_err();
    assert!(matches!(error, LoadError::TooSlow { .. }), "{error:?}");
}
