//! Hostile and obedient guests, one behaviour each.
//!
//! A guest is a core module in WebAssembly text, in `wat/`: small enough to read, and able to
//! do what no toolchain would emit. [`component`] makes a plugin of it within milliseconds,
//! so tests need no WebAssembly target.

#![allow(clippy::expect_used, reason = "a guest that cannot be built is a failed test")]

use std::path::{Path, PathBuf};

use berth_componentize::{Adapter, Options, componentize};
use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;

/// The plugin of a guest in `wat/`, by its file name without ending.
///
/// # Panics
/// When there is no such guest, or it is wrong.
#[must_use]
pub fn component(name: &str) -> Vec<u8> {
    changed(name, |text| text)
}

/// The plugin of a guest whose text was changed.
///
/// # Panics
/// When there is no such guest, or it is wrong.
#[must_use]
pub fn changed(name: &str, change: impl FnOnce(String) -> String) -> Vec<u8> {
    let world = match name {
        "all-phases" | "traps-after-setup" => "everyone",
        "varies" => "varying",
        _ => "asker",
    };
    let wasi = Adapter::Module(WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
    let options = Options {
        wit: Some((&folder("wit"), world)),
        adapter: wasi,
    };
    let core = wat::parse_str(change(text(name))).expect("the guest is valid");
    componentize(&core, &options).expect("the guest implements its world")
}

/// The core module of a guest.
///
/// # Panics
/// When there is no such guest, or it is wrong.
#[must_use]
pub fn module(name: &str) -> Vec<u8> {
    wat::parse_str(text(name)).expect("the guest is valid")
}

fn text(name: &str) -> String {
    let read = |name: &str| {
        std::fs::read_to_string(folder("wat").join(name).with_extension("wat")).expect("there is such a guest")
    };
    read(name).replace(";;prelude", &read("prelude"))
}

/// The names of all guests.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn names() -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder("wat"))
        .expect("there are guests")
        .map(|entry| entry.expect("the folder can be read").path())
        .filter_map(|path| path.file_stem()?.to_str().map(str::to_owned))
        .filter(|name| name != "prelude")
        .collect();
    names.sort();
    names
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_guest_becomes_a_component() {
        for name in super::names() {
            assert!(!super::component(&name).is_empty(), "{name}");
        }
    }
}
