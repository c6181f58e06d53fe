//! Builds the reference plugin in languages other than Rust, for the contract test: one behaviour, many toolchains.
//!
//! A language counts when its folder is there. Its toolchain must then be there too: a missing one is an error.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use berth_componentize::{Adapter, Options, componentize};

use crate::{
    cleanroom::{program, run},
    files,
    fingerprint::{Fingerprint, Stamp},
    progress::say,
    setup::Ready,
    tools, workspace,
};

/// The world that the reference plugin implements.
const WORLD: &str = "adapter";

const COMPONENTIZE_PY: &str = "0.25.1";

/// Builds the plugins that are not up to date.
pub(crate) fn build(ready: &Ready) -> Result<()> {
    let _lock = files::lock(&workspace::guest_target(&ready.root).join(".plugins.lock"))?;
    build_one(ready, "python", python)?;
    build_one(ready, "go", go)
}

/// Builds `plugins/landing-zone/<language>` into the component `landing-zone-<language>`.
fn build_one(ready: &Ready, language: &str, build: impl FnOnce(&Path, &Path) -> Result<Vec<u8>>) -> Result<()> {
    let plugin = format!("plugins/landing-zone/{language}");
    let source = ready.root.join(&plugin);
    if !source.is_dir() {
        return Ok(());
    }
    let component = ready.components.join(format!("landing-zone-{language}.wasm"));
    let stamp = Stamp::at(ready.components.join(format!(".{language}")));
    let inputs = inputs(&ready.root, &plugin, language)?;
    if stamp.is_current(&inputs) {
        return Ok(());
    }
    say(&format!("plugins: building {plugin}"));
    let bytes = build(&ready.root, &source).with_context(|| format!("cannot build {plugin}"))?;
    files::replace(&component, &bytes)?;
    say(&format!(
        "plugins: {} ({} KiB)",
        component.display(),
        bytes.len() / 1024
    ));
    stamp.record(&inputs, &[component])
}

fn inputs(root: &Path, plugin: &str, language: &str) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    fingerprint.value("componentize-py", COMPONENTIZE_PY.as_bytes());
    for source in [plugin, "wit", "host/componentize"] {
        fingerprint.tree(root, source)?;
    }
    let sdk = format!("guest-sdk/{language}");
    if root.join(&sdk).exists() {
        fingerprint.tree(root, &sdk)?;
    }
    Ok(fingerprint.finish())
}

/// Python makes the component itself; without WASI, which it stubs.
fn python(root: &Path, source: &Path) -> Result<Vec<u8>> {
    let tool = componentize_py(root)?;
    let output = unfinished_output(root, "python")?;
    let mut command = program(tool, source);
    command
        .arg("-d")
        .arg(root.join("wit"))
        .args(["-w", WORLD, "componentize", "plugin", "--stub-wasi", "-p"])
        .arg(source);
    let sdk = root.join("guest-sdk/python");
    if sdk.is_dir() {
        command.arg("-p").arg(sdk);
    }
    run(command.arg("-o").arg(&output))?;
    take(&output)
}

/// The program `componentize-py`, in an environment of its own in the cache folder.
fn componentize_py(root: &Path) -> Result<PathBuf> {
    let folder = workspace::cache()?.join(format!("componentize-py-{COMPONENTIZE_PY}"));
    let tool = folder.join("bin/componentize-py");
    let complete = folder.join(".complete");
    if complete.is_file() {
        return Ok(tool);
    }
    let _lock = files::lock(&folder.with_extension("lock"))?;
    // Another task may have installed it while this one waited.
    if complete.is_file() {
        return Ok(tool);
    }
    say(&format!(
        "plugins: installing componentize-py {COMPONENTIZE_PY} into {}",
        folder.display()
    ));
    let hint = "install Python 3.10 or later with its module `venv` (Debian: apt-get install python3-venv)";
    run(program("python3", root).args(["-m", "venv", "--clear"]).arg(&folder)).context(hint)?;
    let package = format!("componentize-py=={COMPONENTIZE_PY}");
    let mut install = program(folder.join("bin/python"), root);
    run(install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        &package,
    ]))?;
    files::replace(&complete, b"")?;
    Ok(tool)
}

/// Go makes a core module for WASI preview 1; the null adapter answers what its runtime asks for.
fn go(root: &Path, source: &Path) -> Result<Vec<u8>> {
    tools::expect_go(root)?;
    let output = unfinished_output(root, "go")?;
    let mut command = program("go", source);
    command
        .envs([
            ("GOOS", "wasip1"),
            ("GOARCH", "wasm"),
            ("CGO_ENABLED", "0"),
            ("GOWORK", "off"),
        ])
        // The bindings ask Go's runtime for memory by a name that the linker otherwise keeps private.
        .args(["build", "-buildmode=c-shared", "-ldflags=-s -w -checklinkname=0", "-o"])
        .arg(&output)
        .arg(".");
    run(&mut command)?;
    let wit = root.join("wit");
    let options = Options {
        wit: Some((wit.as_path(), WORLD)),
        adapter: Adapter::Null,
    };
    componentize(&take(&output)?, &options).context("cannot make a component of Go's module")
}

/// Where a language's tool writes.
fn unfinished_output(root: &Path, language: &str) -> Result<PathBuf> {
    let folder = workspace::guest_target(root).join("plugins");
    files::create_folder(&folder)?;
    Ok(folder.join(format!("landing-zone-{language}.wasm")))
}

/// Reads a file and removes it.
fn take(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(bytes)
}
