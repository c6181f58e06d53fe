//! Builds the Rust guests and turns them into components.
//!
//! Guests have a target folder of their own, so that the host's is never disturbed; what is up to date is not touched.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use berth_componentize::{Metadata, Options, componentize, describe};
use serde_json::Value;

use crate::{
    cleanroom::{host_cargo, read, read_with_progress},
    files,
    fingerprint::{Fingerprint, Stamp},
    guest_toolchain::GuestToolchain,
    progress::say,
    workspace,
};

/// A package whose library becomes a component.
struct Guest {
    package: &'static str,
    component: &'static str,
}

const GUESTS: [Guest; 2] = [
    Guest {
        package: "berth-declarative",
        component: "declarative",
    },
    Guest {
        package: "landing-zone",
        component: "landing-zone",
    },
];

/// Where the sources of all guests are, and of what they are built with.
const SOURCES: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "wit",
    "guest-sdk/rust",
    "plugins/declarative",
    "plugins/landing-zone/rust",
    "tests/guests",
    "host/componentize",
];

/// Builds what is not up to date, and answers with the folder of components.
pub(crate) fn build(root: &Path, toolchain: &GuestToolchain) -> Result<PathBuf> {
    let components = workspace::components(root);
    let stamp = Stamp::at(components.join(".guests"));
    let _lock = files::lock(&workspace::guest_target(root).join(".setup.lock"))?;

    let inputs = inputs(root, toolchain)?;
    if stamp.is_current(&inputs) {
        return Ok(components);
    }
    say(&format!(
        "setup: building the Rust plugins with {}",
        toolchain.summary()
    ));
    let mut outputs = Vec::new();
    let packages = read(host_cargo(root).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]))?;
    for (name, core) in compile(root, toolchain)? {
        let component = components.join(format!("{name}.wasm"));
        let module = fs::read(&core).with_context(|| format!("cannot read {}", core.display()))?;
        let bytes = componentize(&module, &Options::default())
            .with_context(|| format!("cannot make a component of {}", core.display()))?;
        let library = core.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let about = Metadata::of_cargo(&packages, library).context("cannot read what cargo tells of packages")?;
        let about = about.with_context(|| format!("cargo knows no package of {}", core.display()))?;
        let bytes =
            describe(&bytes, &about).with_context(|| format!("cannot describe the component of {}", core.display()))?;
        files::replace(&component, &bytes)?;
        say(&format!("setup: {} ({} KiB)", component.display(), bytes.len() / 1024));
        outputs.push(component);
    }
    stamp.record(&inputs, &outputs)?;
    Ok(components)
}

fn inputs(root: &Path, toolchain: &GuestToolchain) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    fingerprint.value("toolchain", toolchain.identity().as_bytes());
    // What is done to a component here besides.
    fingerprint.value("described", b"by its package");
    for source in SOURCES {
        fingerprint.tree(root, source)?;
    }
    Ok(fingerprint.finish())
}

/// Compiles the guests; answers with the core module of each component.
fn compile(root: &Path, toolchain: &GuestToolchain) -> Result<BTreeMap<String, PathBuf>> {
    let target_folder = workspace::guest_target(root);
    let mut command = toolchain.cargo_build(root, &target_folder);
    command.args(["--lib", "--message-format", "json-render-diagnostics"]);
    for guest in &GUESTS {
        command.args(["--package", guest.package]);
    }
    let built = modules(&read_with_progress(&mut command)?)?;
    let mut found = BTreeMap::new();
    for guest in &GUESTS {
        let library = guest.package.replace('-', "_");
        let module = built.get(&library).with_context(|| {
            format!(
                "the package {} made no module: its library needs `crate-type = [\"cdylib\"]`",
                guest.package
            )
        })?;
        found.insert(guest.component.to_owned(), module.clone());
    }
    Ok(found)
}

/// The modules that cargo's messages name, by the name of their library.
fn modules(messages: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo's message is no JSON")?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        let Some(name) = message["target"]["name"].as_str() else {
            bail!("cargo's message names no target: {line}")
        };
        let files = message["filenames"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(module) = files
            .iter()
            .filter_map(Value::as_str)
            .find(|file| file.ends_with(".wasm"))
        {
            found.insert(name.replace('-', "_"), PathBuf::from(module));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_taken_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"filenames":["/t/libserde.rlib"]}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"compiler-artifact","target":{"name":"landing_zone"},"filenames":["/t/liblanding_zone.rlib","/t/landing_zone.wasm"]}
{"reason":"build-finished","success":true}
"#;

        let expected = BTreeMap::from([("landing_zone".to_owned(), PathBuf::from("/t/landing_zone.wasm"))]);
        assert_eq!(modules(messages).unwrap(), expected);
    }
}
