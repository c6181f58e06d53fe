//! The arrows of the architecture, read from manifests and sources.
//!
//! - Rooms in `host/src` do not know each other. All share `world`; only the joiners know rooms, and tests may.
//! - The engine is pure: no dependency that does IO, no clock, no files.
//! - Only `host/runtime` names wasmtime.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Files and folders of `host/src` that put rooms together.
const JOINERS: [&str; 12] = [
    "artifacts",
    "cli",
    "demo",
    "dispatch",
    "driver",
    "intake",
    "lib",
    "live",
    "main",
    "plugins",
    "serve",
    "shared_fetch",
];

/// What every room may use.
const SHARED: [&str; 1] = ["world"];

/// Rooms that may know another, each with its reason.
const PERMITTED: [(&str, &str); 2] = [
    // The test of the shipped alert rules compares them with the metrics that exist.
    ("config", "telemetry"),
    // The simulated API answers the real client: it is the other end of the client's transport.
    ("simulate", "fleet"),
];

/// Crates that the engine must not reach, directly or through others.
const IMPURE: [&str; 8] = [
    "axum", "hyper", "kube", "mio", "reqwest", "socket2", "tokio", "wasmtime",
];

/// Text that betrays a clock, a file, a socket or another program in the engine.
const EFFECTS: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "Instant::now",
    "SystemTime::now",
    "Timestamp::now",
    "Zoned::now",
];

/// Every arrow that points where it must not, one line each; none is as it should be.
///
/// # Errors
/// When a file of the repository at `root` cannot be read.
pub fn violations(root: &Path) -> Result<Vec<String>> {
    let mut found = rooms(root)?;
    found.extend(engine(root)?);
    found.extend(wasmtime(root)?);
    Ok(found)
}

/// Imports between rooms.
fn rooms(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("host/src");
    let mut rooms = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) {
            rooms.insert(name.to_owned());
        }
    }
    let mut found = Vec::new();
    for file in rust_files(&folder)? {
        let relative = file.strip_prefix(&folder).unwrap_or(&file);
        let room = room_of(relative);
        let is_test = relative.file_stem().is_some_and(|stem| stem == "tests");
        if is_test || JOINERS.contains(&room.as_str()) {
            continue;
        }
        for other in named_rooms(&read(&file)?, &rooms, &modules_below(&folder.join(&room))?) {
            let permitted = other == room
                || SHARED.contains(&other.as_str())
                || PERMITTED.contains(&(room.as_str(), other.as_str()));
            if !permitted {
                found.push(format!(
                    "host/src/{}: the room `{room}` names the room `{other}`",
                    relative.display()
                ));
            }
        }
    }
    Ok(found)
}

/// The room of a file, by its path below `host/src`.
fn room_of(relative: &Path) -> String {
    let first = relative
        .components()
        .next()
        .map(|part| part.as_os_str().to_string_lossy().into_owned());
    let first = first.unwrap_or_default();
    first.strip_suffix(".rs").map_or(first.clone(), str::to_owned)
}

/// The names of all modules in a room's folder; none for a room that is a file.
fn modules_below(folder: &Path) -> Result<BTreeSet<String>> {
    if !folder.is_dir() {
        return Ok(BTreeSet::new());
    }
    let files = rust_files(folder)?;
    let parts = files
        .iter()
        .filter_map(|file| file.strip_prefix(folder).ok())
        .flat_map(Path::components);
    Ok(parts
        .map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
        .collect())
}

/// The rooms that a source names by a path from the crate's root, in `super` steps, or by the crate's name.
///
/// `own` are the modules of the source's room: a `super` step to one of them stays in the room.
fn named_rooms(source: &str, rooms: &BTreeSet<String>, own: &BTreeSet<String>) -> BTreeSet<String> {
    let code = without_comments(without_tests(source));
    let mut named = BTreeSet::new();
    for start in ["crate::", "berth::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if whole_word {
                let names = first_names(&code[at + start.len()..])
                    .into_iter()
                    .filter(|name| rooms.contains(name));
                named.extend(names.filter(|name| start != "super::" || !own.contains(name)));
            }
        }
    }
    named
}

/// The first name of each path in `x::y`, or in `{a, b::{c, d}}`.
fn first_names(path: &str) -> Vec<String> {
    let identifier = |text: &str| -> Option<String> {
        let name: String = text
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        (!name.is_empty()).then_some(name)
    };
    let Some(group) = path.strip_prefix('{') else {
        return identifier(path).into_iter().collect();
    };
    let mut depth = 0_usize;
    let mut names: Vec<String> = identifier(group).into_iter().collect();
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.extend(identifier(&group[at + 1..])),
            _ => {}
        }
    }
    names
}

/// The source before its test module, which ends a file and may look at other rooms.
fn without_tests(source: &str) -> &str {
    let begins = |at: &usize| {
        // `mod tests;` is only a declaration: what follows it is no test.
        let rest = &source[*at..];
        let item = rest.split(['{', ';']).next().unwrap_or_default();
        item.contains("\nmod ") && rest[item.len()..].starts_with('{')
    };
    let end = source.match_indices("\n#[cfg(test)]").map(|(at, _)| at).find(begins);
    &source[..end.unwrap_or(source.len())]
}

/// The source without line comments: a link in documentation is no import.
fn without_comments(source: &str) -> String {
    source
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// IO in the engine, by dependency or by call.
fn engine(root: &Path) -> Result<Vec<String>> {
    let manifest = read(&root.join("host/engine/Cargo.toml"))?;
    let lock = lock(&read(&root.join("Cargo.lock"))?);
    let mut found = Vec::new();
    for direct in dependencies(&manifest) {
        for impure in reachable(&direct, &lock)
            .iter()
            .filter(|name| IMPURE.contains(&name.as_str()))
        {
            found.push(format!(
                "host/engine/Cargo.toml: the engine reaches `{impure}` through `{direct}`"
            ));
        }
    }
    for file in rust_files(&root.join("host/engine/src"))? {
        let code = without_comments(&read(&file)?);
        for effect in EFFECTS.iter().filter(|effect| code.contains(*effect)) {
            let relative = file.strip_prefix(root).unwrap_or(&file).display();
            found.push(format!("{relative}: the engine is pure, and this names `{effect}`"));
        }
    }
    Ok(found)
}

/// Packages besides the runtime that depend on wasmtime.
fn wasmtime(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for member in members(&read(&root.join("Cargo.toml"))?)? {
        let manifest = read(&root.join(&member).join("Cargo.toml"))?;
        let names = manifest
            .lines()
            .filter_map(key)
            .any(|key| key == "wasmtime" || key.starts_with("wasmtime-"));
        if names && member != "host/runtime" {
            found.push(format!("{member}/Cargo.toml: only host/runtime names wasmtime"));
        }
    }
    Ok(found)
}

/// The folders of the workspace's packages.
fn members(manifest: &str) -> Result<Vec<String>> {
    let list = manifest
        .split_once("\nmembers = [")
        .and_then(|(_, rest)| rest.split_once(']'));
    let Some((list, _)) = list else {
        bail!("Cargo.toml has no list of members")
    };
    let entries = list
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split('"').skip(1).step_by(2));
    Ok(entries.map(str::to_owned).collect())
}

/// The names in the section `[dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let lines = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(key)
        .map(str::to_owned)
        .collect()
}

/// The key of a line `key = value` or `key.part = value`.
fn key(line: &str) -> Option<&str> {
    let line = line.trim();
    let name = line.split_once('=')?.0.split('.').next()?.trim();
    (!name.is_empty() && !line.starts_with('#')).then_some(name)
}

/// The dependencies of each package in the lock file, by name; several versions of one package count as one.
fn lock(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut packages: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for section in text.split("[[package]]").skip(1) {
        let Some(name) = section.lines().find_map(|line| line.strip_prefix("name = ")) else {
            continue;
        };
        let listed = section.split_once("dependencies = [").map_or("", |(_, rest)| rest);
        let listed = listed.split(']').next().unwrap_or_default();
        // An entry is "name" or "name version".
        let names = listed
            .split('"')
            .skip(1)
            .step_by(2)
            .filter_map(|entry| entry.split(' ').next());
        packages
            .entry(name.trim_matches('"').to_owned())
            .or_default()
            .extend(names.map(str::to_owned));
    }
    packages
}

/// A package and all that it depends on.
fn reachable(start: &str, lock: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let mut seen = BTreeSet::from([start.to_owned()]);
    let mut open = vec![start.to_owned()];
    while let Some(name) = open.pop() {
        for next in lock.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next.clone());
            }
        }
    }
    seen
}

pub(crate) fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn named(source: &str) -> BTreeSet<String> {
        named_rooms(
            source,
            &set(&["cluster", "fleet", "registry", "source", "world"]),
            &set(&["client", "source"]),
        )
    }

    #[test]
    fn every_way_to_import_another_room_is_seen() {
        for source in [
            "use crate::cluster::Client;",
            "use crate::{fleet::page, cluster};",
            "use crate::{\n    world::{Fleet, Identity},\n    cluster::apply,\n};",
            "let client = crate::cluster::connect();",
            "use super::cluster;",
            "use super::super::cluster::Client;",
            "use berth::cluster::Client;",
            "use super::{retry, cluster};",
            "\n#[cfg(test)]\nmod tests;\nuse crate::cluster;\nfn real() {}",
        ] {
            assert!(named(source).contains("cluster"), "{source}");
        }
    }

    #[test]
    fn comments_submodules_and_names_that_only_look_alike_are_no_imports() {
        for source in [
            "/// See [`crate::cluster`].",
            "use crate::cluster_name;",
            "use crate::world::{cluster, Fleet};",
            "mod source;\nuse self::source::Reader;",
            "use super::source::Reader;",
            "use my_crate::cluster;",
            "fn real() {}\n\n#[cfg(test)]\nmod tests {\n    use crate::cluster;\n}\n",
        ] {
            let others: Vec<_> = named(source)
                .into_iter()
                .filter(|name| name != "world" && name != "fleet")
                .collect();
            assert_eq!(others, Vec::<String>::new(), "{source}");
        }
    }

    #[test]
    fn a_room_is_a_folder_or_a_file() {
        assert_eq!(room_of(Path::new("fleet/client.rs")), "fleet");
        assert_eq!(room_of(Path::new("telemetry.rs")), "telemetry");
    }

    #[test]
    fn dependencies_are_followed_through_the_lock_file() {
        let lock = lock(
            "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\ndependencies = [\n \"b 2.0.0\",\n]\n\n\
             [[package]]\nname = \"b\"\nversion = \"2.0.0\"\ndependencies = [\n \"tokio\",\n]\n\n\
             [[package]]\nname = \"tokio\"\nversion = \"1.0.0\"\n",
        );

        assert_eq!(reachable("a", &lock), set(&["a", "b", "tokio"]));
    }

    #[test]
    fn only_normal_dependencies_of_a_manifest_are_listed() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\nserde = { workspace = true }\nhex.workspace = true\n# no = 1\n\n\
                        [dev-dependencies]\ninsta = \"1\"\n";

        assert_eq!(dependencies(manifest), ["serde", "hex"]);
    }

    #[test]
    fn members_are_read_without_their_comments() {
        let manifest = "[workspace]\nmembers = [\n  \"host\",\n  # \"none\"\n  \"xtask\",\n]\n";
        assert_eq!(
            members(manifest).ok(),
            Some(vec!["host".to_owned(), "xtask".to_owned()])
        );
    }
}
