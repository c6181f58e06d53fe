//! The task `bindings`: makes the bindings of the contract that are in the repository, for languages whose authors should
//! need no generator; and the check that they are those of this contract.
//!
//! Only Go's are: other languages' tools make theirs of `wit/` themselves. What the generator makes for a whole plugin is split
//! into a package per interface, so that a plugin exports the phases whose packages it imports.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::{
    cleanroom::{program, read, run as run_command},
    crates, files,
    fingerprint::files_below,
    progress::say,
    tools, workspace,
};

/// The Go module of the bindings, and its folder.
const MODULE: &str = "github.com/openshift-hyperfleet/berth/guest-sdk/go";
const FOLDER: &str = "guest-sdk/go";

/// Each is exported by the world `<phase>-plugin`.
const PHASES: [&str; 6] = [
    "setup",
    "vary",
    "preconditions",
    "resources",
    "postconditions",
    "status",
];
/// Interfaces that are imported, and the types that all share.
const OTHERS: [&str; 5] = ["types", "log", "fleet", "cluster", "http"];
/// The world that has all of them.
const EVERYTHING: &str = "everything";

/// What the generator's names begin with: its packages are named after the contract's.
const PREFIX: &str = "hyperfleet_adapter_";

/// Which contract the bindings are of, and what they are: the output of `sha256sum`, to be checked by it or by [`check`].
const SUMS: &str = "SHA256SUMS";

/// Makes them anew.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root()?;
    tools::expect_go(&root)?;
    let generator = crates::ensure(&root, &workspace::cache()?.join("tools"), &crates::WIT_BINDGEN)?;
    let scratch = root.join("target/bindings");
    let all = generate(&root, &generator, &scratch, EVERYTHING)?;
    for interface in OTHERS.iter().chain(&PHASES) {
        let source = content(&all.join(format!("{PREFIX}{interface}/wit_bindings.go")))?;
        put(&root, &format!("{interface}/bindings.go"), interface, &source)?;
    }
    for phase in PHASES {
        let made = generate(&root, &generator, &scratch, &format!("{phase}-plugin"))?;
        let source = content(&made.join("wit_exports.go"))?;
        put(&root, &format!("{phase}/exports.go"), phase, &source)?;
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    files::replace(&root.join(FOLDER).join(SUMS), sums(&root)?.as_bytes())
}

/// Sees that the bindings are those of the contract as it is, comments included, and that nobody changed them by hand.
///
/// # Errors
/// Names what differs, and what to do.
pub(crate) fn check(root: &Path) -> Result<()> {
    let recorded = content(&root.join(FOLDER).join(SUMS))?;
    let changed = differences(&recorded, &sums(root)?);
    if !changed.is_empty() {
        bail!(
            "the bindings in {FOLDER} are not those of the contract: {} changed since they were made; run `cargo xtask bindings`",
            changed.join(", ")
        );
    }
    Ok(())
}

/// Runs the generator for a world; answers with the folder of what it made.
fn generate(root: &Path, generator: &Path, scratch: &Path, world: &str) -> Result<PathBuf> {
    let folder = scratch.join(world);
    files::create_folder(&folder)?;
    let mut command = program(generator, root);
    command
        .args(["go", "--world", world, "--out-dir"])
        .arg(&folder)
        .arg("wit");
    run_command(&mut command)?;
    Ok(folder)
}

/// Writes what was generated as a file of the package `package`.
fn put(root: &Path, name: &str, package: &str, generated: &str) -> Result<()> {
    let path = root.join(FOLDER).join(name);
    // Beside its place, so that a text that Go cannot read never takes it.
    let unfinished = files::unfinished(&path);
    fs::write(&unfinished, of_package(generated, package))
        .with_context(|| format!("cannot write {}", unfinished.display()))?;
    // Imports were renamed, and Go has an order for them.
    let formatted = read(program("gofmt", root).arg(&unfinished));
    fs::remove_file(&unfinished).with_context(|| format!("cannot remove {}", unfinished.display()))?;
    files::replace(&path, formatted?.as_bytes())?;
    say(&format!("bindings: {}", path.display()));
    Ok(())
}

/// What was generated for a program of its own, as a file of one package of the SDK.
fn of_package(generated: &str, package: &str) -> String {
    let own = format!("{PREFIX}{package}");
    let is_left_out = |line: &str| {
        let line = line.trim();
        // It does not import itself, and is no program.
        line == format!("\"wit_component/{own}\"")
            || line == format!("\"wit_component/export_{own}\"")
            || line == "func main() {}"
            || line == "// Unused, but present to make the compiler happy"
    };
    let mut text = String::new();
    for line in generated.lines().filter(|line| !is_left_out(line)) {
        if line.starts_with("package ") {
            text.push_str(&format!("package {package}\n"));
            continue;
        }
        let mut line = line
            .replace("\"go.bytecodealliance.org/pkg/wit/", &format!("\"{MODULE}/wit/"))
            .replace(&format!("\"wit_component/{PREFIX}"), &format!("\"{MODULE}/"));
        // What a phase does is said by whoever imports the package.
        if let Some((before, call)) = line.split_once(&format!("export_{own}."))
            && let Some((_, arguments)) = call.split_once('(')
        {
            line = format!("{before}implementation({arguments}");
        }
        line = line.replace(&format!("{own}."), "");
        for other in OTHERS.iter().chain(&PHASES) {
            line = line.replace(&format!("{PREFIX}{other}."), &format!("{other}."));
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The contract's files and the generated ones with their hashes, as `sha256sum` tells them in the folder of the bindings.
fn sums(root: &Path) -> Result<String> {
    let folder = root.join(FOLDER);
    let contract = files_below(&root.join("wit"))?
        .into_iter()
        .map(|path| (Path::new("../..").join(path.strip_prefix(root).unwrap_or(&path)), path));
    let generated = OTHERS
        .iter()
        .chain(&PHASES)
        .map(|interface| format!("{interface}/bindings.go"))
        .chain(PHASES.map(|phase| format!("{phase}/exports.go")))
        .map(|name| (PathBuf::from(&name), folder.join(&name)));
    let mut text = String::new();
    for (name, path) in contract.chain(generated) {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let hash = hex::encode(Sha256::digest(bytes));
        text.push_str(&format!("{hash}  {}\n", name.display()));
    }
    Ok(text)
}

/// The files whose hash is another now, or that are told in one of both only.
fn differences(recorded: &str, now: &str) -> Vec<String> {
    let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
    let (recorded, now) = (lines(recorded), lines(now));
    let changed = recorded
        .iter()
        .filter(|line| !now.contains(line))
        .chain(now.iter().filter(|line| !recorded.contains(line)));
    let mut names: Vec<String> = changed
        .map(|line| line.split_whitespace().last().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn content(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_for_a_program_becomes_a_package() {
        let generated = "package main\n\nimport (\n\t\"runtime\"\n\twitTypes \"go.bytecodealliance.org/pkg/wit/types\"\n\t\
                         \"wit_component/export_hyperfleet_adapter_status\"\n\t\"wit_component/hyperfleet_adapter_status\"\n\t\
                         \"wit_component/hyperfleet_adapter_types\"\n)\n\n\
                         //go:wasmexport hyperfleet:adapter/status@0.1.0#report\n\
                         func wasm_export_hyperfleet_adapter_status_report() {\n\
                         \tresult := export_hyperfleet_adapter_status.Report(hyperfleet_adapter_types.Facts{X: hyperfleet_adapter_status.Y})\n\
                         }\n\n// Unused, but present to make the compiler happy\nfunc main() {}\n";
        let expected = "package status\n\nimport (\n\t\"runtime\"\n\twitTypes \"github.com/openshift-hyperfleet/berth/guest-sdk/go/wit/types\"\n\t\
                        \"github.com/openshift-hyperfleet/berth/guest-sdk/go/types\"\n)\n\n\
                        //go:wasmexport hyperfleet:adapter/status@0.1.0#report\n\
                        func wasm_export_hyperfleet_adapter_status_report() {\n\
                        \tresult := implementation(types.Facts{X: Y})\n\
                        }\n\n";
        assert_eq!(of_package(generated, "status"), expected);
    }

    #[test]
    fn what_changed_since_the_bindings_were_made_is_named() {
        let recorded = "aa  ../../wit/a.wit\nbb  types/bindings.go\ncc  log/bindings.go\n";
        assert!(differences(recorded, recorded).is_empty());
        let now = "aa  ../../wit/a.wit\nbd  types/bindings.go\ncc  log/bindings.go\nee  ../../wit/new.wit\n";
        assert_eq!(differences(recorded, now), ["../../wit/new.wit", "types/bindings.go"]);
    }
}
