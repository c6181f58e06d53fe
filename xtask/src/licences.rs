//! Sees that every dependency's licence is one that `deny.toml` allows.
//!
//! Reads what cargo already knows, so it works offline and without further tools.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cleanroom::{host_cargo, read};

/// Checks all dependencies on this machine's platform.
pub(crate) fn check(root: &Path) -> Result<()> {
    let path = root.join("deny.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let allowed = allowed(&text).with_context(|| format!("{} has no list `allow` of licences", path.display()))?;

    let compiler = read(host_cargo(root).arg("-vV"))?;
    let host = compiler
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo does not name its host")?;
    let metadata = read(host_cargo(root).args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        host,
    ]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo's metadata is no JSON")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo's metadata lists no packages")?;
    let refused = refused(packages, &allowed);
    if !refused.is_empty() {
        bail!("these licences are not allowed by deny.toml:\n{}", refused.join("\n"));
    }
    Ok(())
}

/// One line for each package that may not be used.
fn refused(packages: &[Value], allowed: &BTreeSet<String>) -> Vec<String> {
    let mut refused = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or("?");
        let version = package["version"].as_str().unwrap_or("?");
        match package["license"].as_str().or_else(|| licence_in_file(package)) {
            Some(expression) if permits(expression, allowed) => {}
            Some(expression) => refused.push(format!("  {name} {version}: {expression}")),
            None => refused.push(format!("  {name} {version}: states no licence that is known")),
        }
    }
    refused
}

/// The licence of a package that ships its text instead of naming it, if the text is one we recognise.
fn licence_in_file(package: &Value) -> Option<&'static str> {
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
    let text = fs::read_to_string(folder.join(package["license_file"].as_str()?)).ok()?;
    recognise(&text)
}

fn recognise(text: &str) -> Option<&'static str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let title = (lines.next()?, lines.next()?);
    (title == ("Apache License", "Version 2.0, January 2004")).then_some("Apache-2.0")
}

/// The strings in the list `allow` of the section `[licenses]`.
fn allowed(deny: &str) -> Option<BTreeSet<String>> {
    let section = deny.split_once("\n[licenses]")?.1;
    let section = section.split("\n[").next()?;
    let list = section.split_once("\nallow = [")?.1.split_once(']')?.0;
    // Quoted text is every second part of each line; a comment ends the line.
    let entries = list
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split('"').skip(1).step_by(2));
    Some(entries.map(str::to_owned).collect())
}

/// Whether an SPDX expression can be met with allowed licences alone.
fn permits(expression: &str, allowed: &BTreeSet<String>) -> bool {
    // A slash is how old manifests say OR.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let met = reader.alternatives();
    met == Some(true) && reader.words.is_empty()
}

/// Reads an SPDX expression; each method answers whether the part it has read is met, or none for a syntax error.
struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a BTreeSet<String>,
}

impl<'a> Reader<'a> {
    fn alternatives(&mut self) -> Option<bool> {
        let mut met = self.requirements()?;
        while self.takes("OR") {
            met |= self.requirements()?;
        }
        Some(met)
    }

    fn requirements(&mut self) -> Option<bool> {
        let mut met = self.licence()?;
        while self.takes("AND") {
            met &= self.licence()?;
        }
        Some(met)
    }

    fn licence(&mut self) -> Option<bool> {
        if self.takes("(") {
            let met = self.alternatives()?;
            return self.takes(")").then_some(met);
        }
        let name = self.word()?;
        if self.takes("WITH") {
            let exception = self.word()?;
            return Some(self.allowed.contains(&format!("{name} WITH {exception}")));
        }
        Some(self.allowed.contains(name))
    }

    fn word(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn takes(&mut self, wanted: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.words = rest;
                true
            }
            Some(_) | None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn one_allowed_alternative_suffices_and_every_requirement_counts() {
        let allowed = list(&["MIT", "Apache-2.0", "Unicode-3.0", "Apache-2.0 WITH LLVM-exception"]);
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-2.0/MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "GPL-3.0 OR MIT AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(good, &allowed), "{good}");
        }
        for bad in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT WITH LLVM-exception",
            "",
            "(MIT",
            "MIT Apache-2.0",
            "MIT OR",
        ] {
            assert!(!permits(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn the_list_is_read_from_its_section_only() {
        let text = "[bans]\nallow = [\"openssl\"]\n\n[licenses]\nconfidence = 0.9\nallow = [\n  \"MIT\", # \"GPL\"\n  \
                    \"Apache-2.0 WITH LLVM-exception\",\n]\n\n[sources]\nallow = [\"x\"]\n";

        assert_eq!(allowed(text), Some(list(&["Apache-2.0 WITH LLVM-exception", "MIT"])));
        assert_eq!(allowed("[bans]\nallow = []\n"), None);
    }

    #[test]
    fn a_licence_is_recognised_by_its_title_only() {
        assert_eq!(
            recognise("\n   Apache License\n  Version 2.0, January 2004\n"),
            Some("Apache-2.0")
        );
        assert_eq!(recognise("Some terms\nlike those of the Apache License"), None);
    }

    #[test]
    fn a_package_without_a_licence_is_refused_by_name() {
        let packages = [
            serde_json::json!({"name": "good", "version": "1.0.0", "license": "MIT"}),
            serde_json::json!({"name": "bare", "version": "0.1.0", "license": null}),
            serde_json::json!({"name": "viral", "version": "2.0.0", "license": "GPL-3.0"}),
        ];

        assert_eq!(
            refused(&packages, &list(&["MIT"])),
            [
                "  bare 0.1.0: states no licence that is known",
                "  viral 2.0.0: GPL-3.0"
            ]
        );
    }
}
