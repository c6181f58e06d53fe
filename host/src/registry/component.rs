//! What a component says of itself, read without compiling it.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{Encoding, Parser, Payload};

use super::check::Check;

/// Phases that a plugin may export; the world of each is `<phase>-plugin`.
const PHASES: [&str; 6] = [
    "setup",
    "vary",
    "preconditions",
    "resources",
    "postconditions",
    "status",
];
/// What a plugin may import; the world of each is `uses-<interface>`.
const USES: [&str; 4] = ["log", "fleet", "cluster", "http"];
/// The package of the contract, without its version.
const CONTRACT: &str = "hyperfleet:adapter";
/// The longest text of a metadata section that becomes an annotation, in bytes.
const MAX_TEXT: usize = 1024;
/// More names than this are not those of a plugin.
const MAX_NAMES: usize = 1000;

/// How WebAssembly begins.
const WASM: &[u8] = b"\0asm";
/// How files of native code begin: ELF (also what wasmtime precompiles to), Mach-O, and Windows programs.
const NATIVE: [&[u8]; 6] = [
    b"\x7fELF",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"MZ",
];
/// How compressed files begin: gzip, zstd, xz, bzip2, zip.
const COMPRESSED: [&[u8]; 5] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh", b"PK\x03\x04"];

/// Why some bytes are no component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// Native code, such as a precompiled component: it would run outside of any sandbox.
    #[error("the layer is native code, not WebAssembly: push the component itself")]
    NativeCode,
    /// A compressed file.
    #[error("the layer is compressed: push the component as it is")]
    Compressed,
    /// A core module.
    #[error("the layer is a core module, not a component: `berth plugin build` makes a component of it")]
    CoreModule,
    /// No WebAssembly at all, such as the page of a proxy.
    #[error("the layer is no WebAssembly: it does not begin as such files do")]
    NoWebAssembly,
    /// Damaged.
    #[error("the layer is no WebAssembly component")]
    Malformed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// More imports and exports than a plugin has.
    #[error("the component has more than {MAX_NAMES} imports or exports")]
    TooManyNames,
}

impl ComponentError {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NativeCode => "NativeCode",
            Self::Compressed => "Compressed",
            Self::CoreModule => "CoreModule",
            Self::NoWebAssembly | Self::Malformed(_) => "MalformedComponent",
            Self::TooManyNames => "TooManyNames",
        }
    }
}

/// The outside of a component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Component {
    /// The names of what it imports, such as `hyperfleet:adapter/log@0.1.0`.
    pub imports: BTreeSet<String>,
    /// The names of what it exports.
    pub exports: BTreeSet<String>,
    /// Texts of its metadata sections by the section's name: `version`, `source`, `licenses`,
    /// `description`, `authors`, `homepage`, `revision`; and its `name`.
    pub metadata: BTreeMap<&'static str, String>,
}

/// Sections that hold one text each, by the convention of the WebAssembly tools.
const TEXTS: [&str; 7] = [
    "version",
    "source",
    "licenses",
    "description",
    "authors",
    "homepage",
    "revision",
];

impl Component {
    /// Reads the imports, exports and metadata of a component. Nothing is compiled, and nothing inside of nested
    /// modules is looked at.
    ///
    /// # Errors
    /// When `bytes` are no component; compressed files and native code are told by their first bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, ComponentError> {
        let begins = |magics: &[&[u8]]| magics.iter().any(|magic| bytes.starts_with(magic));
        if Check::NoNativeCode.finds(begins(&NATIVE)) {
            return Err(ComponentError::NativeCode);
        }
        if Check::NotPacked.finds(begins(&COMPRESSED)) {
            return Err(ComponentError::Compressed);
        }
        if Check::WebAssembly.finds(!begins(&[WASM])) {
            return Err(ComponentError::NoWebAssembly);
        }
        let mut found = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = match payload {
                Err(error) if Check::WholeComponent.finds(true) => {
                    return Err(ComponentError::Malformed(Box::new(error)));
                }
                Err(_) => break,
                Ok(payload) => payload,
            };
            if let Payload::Version { encoding, .. } = &payload
                && Check::NoCoreModule.finds(depth == 0 && *encoding == Encoding::Module)
            {
                return Err(ComponentError::CoreModule);
            }
            found.take(&payload, &mut depth)?;
            if Check::FewNames.finds(found.imports.len() + found.exports.len() > MAX_NAMES) {
                return Err(ComponentError::TooManyNames);
            }
        }
        Ok(found)
    }

    /// Notes what a part of the outermost component says.
    fn take(&mut self, payload: &Payload<'_>, depth: &mut usize) -> Result<(), ComponentError> {
        let malformed = |error: wasmparser::BinaryReaderError| ComponentError::Malformed(Box::new(error));
        match payload {
            Payload::Version { .. } => *depth += 1,
            Payload::End(_) => *depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if *depth == 1 => {
                for import in section.clone() {
                    self.imports.insert(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if *depth == 1 => {
                for export in section.clone() {
                    self.exports.insert(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if *depth == 1 => {
                if let Some(name) = TEXTS.iter().find(|name| **name == section.name()) {
                    self.note(name, section.data());
                } else if let wasmparser::KnownCustom::ComponentName(names) = section.as_known() {
                    for name in names.into_iter().flatten() {
                        if let wasmparser::ComponentName::Component { name, .. } = name {
                            self.note("name", name.as_bytes());
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes a text that can stand in an annotation: one line, not too long.
    fn note(&mut self, name: &'static str, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
        if !text.is_empty() && text.len() <= MAX_TEXT && !text.contains(char::is_control) {
            self.metadata.insert(name, text.to_owned());
        }
    }

    /// The versions of the contract that it imports or exports from, such as `hyperfleet:adapter@0.1.0`.
    #[must_use]
    pub fn packages(&self) -> BTreeSet<String> {
        self.contract().map(|(package, _, _)| package).collect()
    }

    /// The worlds of the contract that it includes, such as `preconditions-plugin` and `uses-log`.
    #[must_use]
    pub fn worlds(&self) -> BTreeSet<String> {
        self.contract()
            .filter_map(|(_, interface, exported)| {
                if exported && PHASES.contains(&interface) {
                    Some(format!("{interface}-plugin"))
                } else if !exported && USES.contains(&interface) {
                    Some(format!("uses-{interface}"))
                } else {
                    None
                }
            })
            .collect()
    }

    /// Package, interface, and whether it is exported, of every name of the contract.
    fn contract(&self) -> impl Iterator<Item = (String, &str, bool)> {
        let imports = self.imports.iter().map(|name| (name, false));
        let exports = self.exports.iter().map(|name| (name, true));
        imports.chain(exports).filter_map(|(name, exported)| {
            let interface = name.strip_prefix(CONTRACT)?.strip_prefix('/')?;
            let (interface, version) = interface.split_once('@')?;
            Some((format!("{CONTRACT}@{version}"), interface, exported))
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest component that imports and exports something, with metadata.
    pub(crate) fn sample(marker: &str) -> Vec<u8> {
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        // A type section with one instance type without anything inside.
        section(&mut bytes, 7, &[1, 0x42, 0]);
        section(&mut bytes, 10, &extern_name("hyperfleet:adapter/log@0.1.0", &[5, 0]));
        section(
            &mut bytes,
            11,
            &extern_name("hyperfleet:adapter/preconditions@0.1.0", &[5, 0, 0]),
        );
        custom(&mut bytes, "version", b"1.4.0");
        custom(&mut bytes, "source", b"https://git.example.com/lz");
        custom(&mut bytes, "licenses", b"Apache-2.0");
        custom(&mut bytes, "description", marker.as_bytes());
        let mut name = vec![0, 0];
        string(&mut name, "landing-zone");
        name[1] = u8::try_from(name.len() - 2).unwrap();
        custom(&mut bytes, "component-name", &name);
        bytes
    }

    /// The same with more imports than a plugin may have.
    pub(crate) fn with_too_many_imports() -> Vec<u8> {
        let mut bytes = sample("imports a lot");
        for number in 0..MAX_NAMES {
            section(&mut bytes, 10, &extern_name(&format!("n{number}"), &[5, 0]));
        }
        bytes
    }

    fn extern_name(name: &str, kind: &[u8]) -> Vec<u8> {
        let mut payload = vec![1, 0];
        string(&mut payload, name);
        payload.extend(kind);
        payload
    }

    fn string(to: &mut Vec<u8>, text: &str) {
        to.push(u8::try_from(text.len()).unwrap());
        to.extend(text.as_bytes());
    }

    fn section(to: &mut Vec<u8>, id: u8, payload: &[u8]) {
        to.push(id);
        let mut length = payload.len();
        while length > 0x7f {
            to.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        to.push(u8::try_from(length).unwrap());
        to.extend(payload);
    }

    pub(crate) fn custom(to: &mut Vec<u8>, name: &str, data: &[u8]) {
        let mut payload = Vec::new();
        string(&mut payload, name);
        payload.extend(data);
        section(to, 0, &payload);
    }

    #[test]
    fn a_component_tells_imports_exports_and_metadata() {
        let read = Component::read(&sample("makes landing zones")).unwrap();
        assert_eq!(
            read.imports,
            BTreeSet::from(["hyperfleet:adapter/log@0.1.0".to_owned()])
        );
        assert_eq!(
            read.exports,
            BTreeSet::from(["hyperfleet:adapter/preconditions@0.1.0".to_owned()])
        );
        assert_eq!(read.metadata["name"], "landing-zone");
        assert_eq!(read.metadata["version"], "1.4.0");
        assert_eq!(read.metadata["description"], "makes landing zones");
        assert_eq!(read.packages(), BTreeSet::from(["hyperfleet:adapter@0.1.0".to_owned()]));
        assert_eq!(
            read.worlds(),
            BTreeSet::from(["preconditions-plugin".to_owned(), "uses-log".to_owned()])
        );
    }

    #[test]
    fn a_real_plugin_is_read() {
        let read = Component::read(include_bytes!(env!("BERTH_LANDING_ZONE_WASM_PATH"))).unwrap();
        assert!(
            read.worlds().contains("preconditions-plugin"),
            "{:?} {:?}",
            read.exports,
            read.imports
        );
    }

    #[test]
    fn what_stands_in_nested_components_is_not_the_outside() {
        let mut outer = b"\0asm\x0d\0\x01\0".to_vec();
        section(&mut outer, 4, &sample("inner"));
        let read = Component::read(&outer).unwrap();
        assert_eq!(read, Component::default());
    }

    #[test]
    fn texts_that_cannot_be_annotations_are_left_out() {
        let mut bytes = sample("two\nlines");
        custom(&mut bytes, "homepage", &[0xff]);
        custom(&mut bytes, "authors", "a".repeat(MAX_TEXT + 1).as_bytes());
        let read = Component::read(&bytes).unwrap();
        for name in ["description", "homepage", "authors"] {
            assert!(!read.metadata.contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_component_is_told_apart() {
        let reason = |bytes: &[u8]| Component::read(bytes).unwrap_err().reason();
        assert_eq!(reason(b"\x7fELF\x02\x01"), "NativeCode");
        assert_eq!(reason(b"MZ\x90"), "NativeCode");
        assert_eq!(reason(b"\x1f\x8b\x08"), "Compressed");
        assert_eq!(reason(b"\x28\xb5\x2f\xfd"), "Compressed");
        assert_eq!(reason(b"\0asm\x01\0\0\0"), "CoreModule");
        assert_eq!(reason(b""), "MalformedComponent");
        assert_eq!(reason(b"(component)"), "MalformedComponent");
        let whole = sample("x");
        assert_eq!(reason(&whole[..whole.len() - 1]), "MalformedComponent");
    }
}
