//! Sees that packages that are published are whole: `cargo install --locked berth` has neither this repository nor a
//! WebAssembly target.
//!
//! Lists what each package would contain, and compares it with what its sources read when they are compiled. Then lays the
//! packages out with nothing else beside them, to be compiled there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    assets,
    cleanroom::{host_cargo, read},
    files,
    fingerprint::files_below,
    setup::Ready,
};

/// A package that is published, and its folder.
struct Package {
    name: &'static str,
    folder: &'static str,
    /// Whether bindings are generated from a copy of the contract in it.
    has_contract: bool,
}

const PACKAGES: [Package; 5] = [
    Package {
        name: "berth-engine",
        folder: "host/engine",
        has_contract: false,
    },
    Package {
        name: "berth-componentize",
        folder: "host/componentize",
        has_contract: false,
    },
    Package {
        name: "berth-runtime",
        folder: "host/runtime",
        has_contract: true,
    },
    Package {
        name: "berth-sdk",
        folder: "guest-sdk/rust",
        has_contract: true,
    },
    Package {
        name: "berth",
        folder: "host",
        has_contract: false,
    },
];

/// Lists each package and names what is missing; lays all of them out in [`laid_out`].
pub(crate) fn check(ready: &Ready) -> Result<()> {
    // Those that are put here for the list go afterwards: a later build would find them old.
    let _assets = assets::lend(ready)?;
    let mut missing = Vec::new();
    for package in &PACKAGES {
        let listed = read(host_cargo(&ready.root).args([
            "package",
            "--list",
            "--allow-dirty",
            "--locked",
            "--package",
            package.name,
        ]))?;
        let listed: BTreeSet<PathBuf> = listed.lines().map(PathBuf::from).collect();
        lay_out(&ready.root, package, &listed)?;
        let wanted = wanted(&ready.root, package, &listed)?;
        missing.extend(
            wanted
                .into_iter()
                .filter(|(path, _)| !listed.contains(path))
                .map(|(path, by)| format!("  {} lacks {}, which {by}", package.name, path.display())),
        );
    }
    if !missing.is_empty() {
        bail!("packages are not whole:\n{}", missing.join("\n"));
    }
    let workspace = laid_out(&ready.root);
    let text = |name: &str| fs::read_to_string(ready.root.join(name)).with_context(|| format!("cannot read {name}"));
    let mut manifest = text("Cargo.toml")?;
    for folder in ["host", "guest-sdk"] {
        for end in ["\"", "/"] {
            manifest = manifest.replace(&format!("\"{folder}{end}"), &format!("\"{PUBLISHED}/{folder}{end}"));
        }
    }
    files::replace(&workspace.join("Cargo.toml"), manifest.as_bytes())?;
    files::replace(&workspace.join("Cargo.lock"), text("Cargo.lock")?.as_bytes())?;
    for name in UNPUBLISHED {
        link(&ready.root.join(name), &workspace.join(name))?;
    }
    Ok(())
}

/// A workspace like this one whose packages have what is published of them, and which has neither the contract's folder nor
/// the guests': what compiles there compiles for whoever installs it.
pub(crate) fn laid_out(root: &Path) -> PathBuf {
    root.join("target/packages")
}

/// Where in it the packages are. In the place of the originals cargo would take one for the other, and a later build would
/// find components in it that are old.
const PUBLISHED: &str = "published";

/// The other members. They are there because the lock file names them.
const UNPUBLISHED: [&str; 3] = ["plugins", "tests", "xtask"];

/// Copies a package's files, and removes what is no longer in it. What has not changed keeps its time.
fn lay_out(root: &Path, package: &Package, listed: &BTreeSet<PathBuf>) -> Result<()> {
    let (from, published) = (root.join(package.folder), laid_out(root).join(PUBLISHED));
    let to = published.join(package.folder);
    for name in listed {
        let source = from.join(name);
        // Cargo adds some files of its own.
        if source.is_file() {
            let content = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
            files::replace(&to.join(name), &content)?;
        }
    }
    let others = PACKAGES.iter().filter(|other| other.name != package.name);
    let inside: Vec<PathBuf> = others
        .map(|other| published.join(other.folder))
        .filter(|folder| folder.starts_with(&to))
        .collect();
    for path in files_below(&to)? {
        let name = path.strip_prefix(&to).unwrap_or(&path);
        let is_of_other = inside.iter().any(|folder| path.starts_with(folder));
        if !is_of_other && !listed.contains(name) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn link(to: &Path, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    if at.is_symlink() {
        fs::remove_file(at).with_context(|| format!("cannot remove {}", at.display()))?;
    }
    std::os::unix::fs::symlink(to, at).with_context(|| format!("cannot write {}", at.display()))
}

/// What a package must contain, and why.
fn wanted(root: &Path, package: &Package, listed: &BTreeSet<PathBuf>) -> Result<Vec<(PathBuf, String)>> {
    let mut wanted = Vec::new();
    if package.name == "berth" {
        let components =
            assets::CONTAINED.map(|name| (Path::new("assets").join(name), "the program contains".to_owned()));
        wanted.extend(components);
    }
    if package.has_contract {
        let contract = root.join("wit");
        for entry in fs::read_dir(&contract).with_context(|| format!("cannot read {}", contract.display()))? {
            let entry = entry.with_context(|| format!("cannot read {}", contract.display()))?;
            wanted.push((
                Path::new("wit").join(entry.file_name()),
                "bindings are made of".to_owned(),
            ));
        }
    }
    for file in listed
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "rs"))
    {
        let path = root.join(package.folder).join(file);
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let by = format!("{} reads", file.display());
        wanted.extend(included(&source).map(|name| (normal(&folder.join(name)), by.clone())));
        // A folder of the contract is read from the package's own folder on.
        wanted.extend(
            generated(&source)
                .filter(|name| *name != "wit")
                .map(|name| (PathBuf::from(name), by.clone())),
        );
    }
    Ok(wanted)
}

/// The files that a source includes by name.
fn included(source: &str) -> impl Iterator<Item = &str> {
    ["include_str!(\"", "include_bytes!(\"", "include!(\""]
        .into_iter()
        .flat_map(move |start| literals(source, start))
}

/// The folders of WIT from which a source has bindings generated.
fn generated(source: &str) -> impl Iterator<Item = &str> {
    ["bindgen!({", "generate!({"].into_iter().flat_map(move |start| {
        source
            .split(start)
            .skip(1)
            .filter_map(|rest| literals(rest.split("})").next()?, "path: \"").next())
    })
}

/// What stands between `start` and the next quotation mark, each time.
fn literals<'a>(source: &'a str, start: &'static str) -> impl Iterator<Item = &'a str> {
    source.split(start).skip(1).filter_map(|rest| rest.split('"').next())
}

/// A path without `..`, where that is possible.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        let leaves =
            part == Component::ParentDir && matches!(normal.components().next_back(), Some(Component::Normal(_)));
        if leaves {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_reads_when_it_is_compiled_is_found() {
        let source = "const A: &str = include_str!(\"../../assets/a.yaml\");\n\
                      const B: &[u8] = include_bytes!(env!(\"B\"));\n\
                      wasmtime::component::bindgen!({\n    path: \"../../wit\",\n    world: \"w\",\n});\n\
                      let call = Call { path: \"/readyz\" };";

        assert_eq!(included(source).collect::<Vec<_>>(), ["../../assets/a.yaml"]);
        assert_eq!(generated(source).collect::<Vec<_>>(), ["../../wit"]);
    }

    #[test]
    fn a_path_that_leaves_the_package_is_seen() {
        assert_eq!(normal(Path::new("src/demo/../../assets/a")), Path::new("assets/a"));
        assert_eq!(normal(Path::new("src/../../../wit")), Path::new("../../wit"));
    }

    #[test]
    fn our_packages_need_each_other_in_exactly_their_version() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        for Package { name, folder, .. } in &PACKAGES {
            let line = format!("{name} = {{ path = \"{folder}\", version = \"={version}\" }}");
            assert!(manifest.lines().any(|one| one == line), "no line says {line}");
        }
    }
}
