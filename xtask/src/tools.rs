//! The task `tools`: the programs that the tests run on, built from the Go module proxy: a control plane, a
//! registry, and cosign; and wkg from the registry of crates.
//!
//! Each tool of Go is pinned by the `go.mod` and `go.sum` of a module of its own below `xtask/tools`, and built once into
//! `$BERTH_TOOLS` (or the cache folder), `<name>-<version>/<binary>`. A tool that cannot be built fails the task:
//! tests are never skipped for want of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use crate::{
    cleanroom::{program, read, run as run_command},
    crates, files,
    progress::{say, seconds},
    rabbitmq, workspace,
};

/// Names the folder of built tools, to this task and to the tests.
pub(crate) const VARIABLE: &str = "BERTH_TOOLS";

/// The oldest Go that the tools' modules accept.
const OLDEST_GO: (u32, u32) = (1, 26);

/// What has a version and a Go module of its own.
struct Tool {
    name: &'static str,
    version: &'static str,
    binaries: &'static [Binary],
    linker_flags: &'static str,
}

struct Binary {
    name: &'static str,
    package: &'static str,
}

const TOOLS: [Tool; 6] = [
    Tool {
        name: "etcd",
        version: "v3.6.7",
        binaries: &[Binary {
            name: "etcd",
            package: "go.etcd.io/etcd/server/v3",
        }],
        linker_flags: "-s -w",
    },
    Tool {
        name: "kubernetes",
        version: "v1.34.4",
        binaries: &[
            Binary {
                name: "kube-apiserver",
                package: "k8s.io/kubernetes/cmd/kube-apiserver",
            },
            Binary {
                name: "kube-controller-manager",
                package: "k8s.io/kubernetes/cmd/kube-controller-manager",
            },
            Binary {
                name: "kube-scheduler",
                package: "k8s.io/kubernetes/cmd/kube-scheduler",
            },
        ],
        // Clients read the server's version, which a plain build leaves at v0.0.0.
        linker_flags: "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
                       -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
    },
    Tool {
        name: "kwok",
        version: "v0.7.0",
        binaries: &[Binary {
            name: "kwok",
            package: "sigs.k8s.io/kwok/cmd/kwok",
        }],
        linker_flags: "-s -w",
    },
    Tool {
        name: "nats",
        version: "v2.12.4",
        binaries: &[Binary {
            name: "nats-server",
            package: "github.com/nats-io/nats-server/v2",
        }],
        linker_flags: "-s -w",
    },
    Tool {
        name: "registry",
        version: "v3.1.2",
        binaries: &[Binary {
            name: "registry",
            package: "github.com/distribution/distribution/v3/cmd/registry",
        }],
        linker_flags: "-s -w",
    },
    Tool {
        name: "promtool",
        version: "v0.308.1",
        binaries: &[Binary {
            name: "promtool",
            package: "github.com/prometheus/prometheus/cmd/promtool",
        }],
        linker_flags: "-s -w",
    },
];

/// Takes longer to build than all others together: last.
const COSIGN: Tool = Tool {
    name: "cosign",
    version: "v3.1.3",
    binaries: &[Binary {
        name: "cosign",
        package: "github.com/sigstore/cosign/v3/cmd/cosign",
    }],
    linker_flags: "-s -w",
};

/// Builds the tools that are missing, without wkg and cosign; answers with their folder.
///
/// # Errors
/// When Go is missing or too old, when a tool cannot be built, and when the Pub/Sub emulator is missing.
pub(crate) fn run() -> Result<PathBuf> {
    xtask::emulator::find()?;
    build_all(&TOOLS)
}

/// Builds wkg and cosign if they are missing; answers with the folder of all tools.
///
/// # Errors
/// As [`run`], and when wkg cannot be built.
pub(crate) fn run_slow() -> Result<PathBuf> {
    crates::ensure(&workspace::root()?, &folder()?, &crates::WKG)?;
    build_all(&[COSIGN])
}

/// The folder of built tools.
fn folder() -> Result<PathBuf> {
    match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(folder) => std::path::absolute(&folder).with_context(|| format!("{VARIABLE} is no path")),
        None => Ok(workspace::cache()?.join("tools")),
    }
}

fn build_all(tools: &[Tool]) -> Result<PathBuf> {
    let root = workspace::root()?;
    let folder = folder()?;
    for tool in tools {
        build(&root, &folder, tool)
            .with_context(|| format!("the tests need {} {}, which cannot be built", tool.name, tool.version))?;
    }
    rabbitmq::ensure(&root)?;
    Ok(folder)
}

fn build(root: &Path, folder: &Path, tool: &Tool) -> Result<()> {
    let home = folder.join(format!("{}-{}", tool.name, tool.version));
    if tool.binaries.iter().all(|binary| home.join(binary.name).is_file()) {
        return Ok(());
    }
    expect_go(root)?;
    let _lock = files::lock(&folder.join(format!(".{}.lock", tool.name)))?;
    let module = root.join("xtask/tools").join(tool.name);
    files::create_folder(&home)?;
    for binary in tool.binaries {
        let path = home.join(binary.name);
        // Another task may have built it while this one waited.
        if path.is_file() {
            continue;
        }
        say(&format!(
            "tools: building {} {} from source (once; minutes)",
            binary.name, tool.version
        ));
        let begun = Instant::now();
        let unfinished = files::unfinished(&path);
        let mut command = program("go", &module);
        command
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env_remove("GOOS")
            .env_remove("GOARCH")
            // `readonly` refuses what `go.mod` and `go.sum` do not pin.
            .args(["build", "-mod=readonly", "-ldflags", tool.linker_flags, "-o"])
            .arg(&unfinished)
            .arg(binary.package);
        run_command(&mut command)?;
        fs::rename(&unfinished, &path).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!(
            "tools: {} is built, after {}",
            path.display(),
            seconds(begun.elapsed())
        ));
    }
    Ok(())
}

/// Sees that there is a Go that can build the tools and plugins.
///
/// # Errors
/// Says which Go to install.
pub(crate) fn expect_go(root: &Path) -> Result<()> {
    let hint = format!(
        "install Go {}.{} or later (https://go.dev/dl) and put it on the path",
        OLDEST_GO.0, OLDEST_GO.1
    );
    let answer = read(program("go", root).arg("version")).with_context(|| format!("Go is missing: {hint}"))?;
    match version(&answer) {
        Some(found) if found >= OLDEST_GO => Ok(()),
        Some(_) | None => bail!("`{}` is too old: {hint}", answer.trim()),
    }
}

/// Major and minor version in the answer of `go version`.
fn version(answer: &str) -> Option<(u32, u32)> {
    let mut parts = answer.split_whitespace().nth(2)?.strip_prefix("go")?.split('.');
    let leading = |part: &str| {
        part.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .ok()
    };
    Some((leading(parts.next()?)?, leading(parts.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_go_is_read_from_its_answer() {
        assert_eq!(version("go version go1.26.8 linux/amd64"), Some((1, 26)));
        assert_eq!(version("go version go1.24rc2 linux/amd64"), Some((1, 24)));
        assert_eq!(version("go version devel +abc linux/amd64"), None);
    }

    #[test]
    fn every_tool_is_pinned_in_its_module_at_the_version_of_its_folder() {
        let root = workspace::root().unwrap();
        for tool in TOOLS.iter().chain([&COSIGN]) {
            let pinned = fs::read_to_string(root.join("xtask/tools").join(tool.name).join("go.mod")).unwrap();
            for binary in tool.binaries {
                let line = pinned.lines().find(|line| {
                    let mut words = line.split_whitespace().skip_while(|word| *word == "require");
                    words.next().is_some_and(|module| binary.package.starts_with(module))
                        && words.next() == Some(tool.version)
                });
                assert!(line.is_some(), "{} is not pinned at {}", binary.package, tool.version);
            }
        }
    }
}
