//! Sees that `wit/` is one package whose worlds and interfaces resolve, and that every item of it is documented: it is a
//! public API, and its documentation is what authors of plugins read.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wit_parser::{Docs, PackageId, Resolve, Type, TypeDefKind};

/// Checks the contract.
pub(crate) fn check(root: &Path) -> Result<()> {
    let folder = root.join("wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_path(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?;
    if resolve.packages[package].worlds.is_empty() {
        bail!("{} has no world", folder.display());
    }
    let undocumented = undocumented(&resolve, package);
    if !undocumented.is_empty() {
        bail!(
            "these items of the contract are not documented: {}",
            undocumented.join(", ")
        );
    }
    Ok(())
}

/// The items of a package without documentation, such as `types.truth.unknown`.
fn undocumented(resolve: &Resolve, package: PackageId) -> Vec<String> {
    let mut missing = Vec::new();
    let mut expect = |name: String, docs: &Docs| {
        if docs.contents.as_deref().unwrap_or_default().trim().is_empty() {
            missing.push(name);
        }
    };
    let package = &resolve.packages[package];
    expect(package.name.to_string(), &package.docs);
    for (name, world) in &package.worlds {
        expect(format!("world {name}"), &resolve.worlds[*world].docs);
    }
    for (interface_name, interface) in &package.interfaces {
        let interface = &resolve.interfaces[*interface];
        expect(interface_name.clone(), &interface.docs);
        for (name, function) in &interface.functions {
            expect(format!("{interface_name}.{name}"), &function.docs);
        }
        for (name, type_) in &interface.types {
            let type_ = &resolve.types[*type_];
            // What is used from another interface is documented there.
            if matches!(type_.kind, TypeDefKind::Type(Type::Id(_))) {
                continue;
            }
            let name = format!("{interface_name}.{name}");
            expect(name.clone(), &type_.docs);
            let parts: Vec<(&String, &Docs)> = match &type_.kind {
                TypeDefKind::Record(record) => record.fields.iter().map(|one| (&one.name, &one.docs)).collect(),
                TypeDefKind::Variant(variant) => variant.cases.iter().map(|one| (&one.name, &one.docs)).collect(),
                TypeDefKind::Enum(one_of) => one_of.cases.iter().map(|one| (&one.name, &one.docs)).collect(),
                TypeDefKind::Flags(flags) => flags.flags.iter().map(|one| (&one.name, &one.docs)).collect(),
                _ => Vec::new(),
            };
            for (part, docs) in parts {
                expect(format!("{name}.{part}"), docs);
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(text: &str) -> Vec<String> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("test.wit", text).unwrap();
        undocumented(&resolve, package)
    }

    #[test]
    fn every_item_without_documentation_is_named() {
        let text = "package a:b;
            interface i {
              use j.{known};
              record r { x: u8, /// Said.
                y: known }
              variant v { c(u8) }
              enum e { one }
              flags f { on }
              type t = string;
              run: func();
            }
            /// Said.
            interface j {
              /// Said.
              type known = u8;
            }
            world w { export i; }";
        let expected = [
            "a:b", "world w", "i", "i.run", "i.r", "i.r.x", "i.v", "i.v.c", "i.e", "i.e.one", "i.f", "i.f.on", "i.t",
        ];
        assert_eq!(missing(text), expected);
    }

    #[test]
    fn the_contract_is_documented_item_by_item() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        check(root).unwrap();
    }
}
