//! Turns a core WebAssembly module into a berth plugin component.
//!
//! Owns the last steps of every guest build: the description of the world is embedded where
//! the toolchain did not do so, WASI preview 1 imports are answered by an adapter, the
//! result is validated, and says what it is. It never reads anything but the WIT folder that it is given.

mod metadata;

use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::Resolve;

pub use metadata::{DescribeError, Metadata, describe};

/// The module name under which WASI preview 1 is imported.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Answers WASI preview 1 without importing anything itself; see [`Adapter::Null`].
const NULL_ADAPTER: &str = include_str!("null_adapter.wat");

/// How a module is made into a component.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// The folder with the WIT package and the world in it, for a module that does not
    /// describe its world itself. Rust guests built with `wit-bindgen` do.
    pub wit: Option<(&'a Path, &'a str)>,
    /// What answers WASI preview 1.
    pub adapter: Adapter<'a>,
}

/// What answers the imports of WASI preview 1.
#[derive(Debug, Clone, Copy, Default)]
pub enum Adapter<'a> {
    /// Nothing: a module that imports WASI is refused.
    #[default]
    None,
    /// Our own stand-in: the component imports no WASI. Printing is swallowed, clocks
    /// count, random bytes are the same in every call, and there are no files.
    Null,
    /// The bytes of an adapter module, such as the "reactor" adapter that maps preview 1 to
    /// WASI 0.2.
    Module(&'a [u8]),
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The WIT package cannot be read, or has no such world.
    #[error("the world `{world}` cannot be read from `{folder}`")]
    Wit {
        /// The folder.
        folder: String,
        /// The world.
        world: String,
        /// What is wrong.
        #[source]
        source: anyhow::Error,
    },
    /// The module's world cannot be embedded in it.
    #[error("the world cannot be embedded into the module")]
    Embed(#[source] anyhow::Error),
    /// The bytes are no core module, or do not say which world they implement.
    #[error("this is not a core module that can become a component")]
    Module(#[source] anyhow::Error),
    /// The adapter cannot be used.
    #[error("the adapter for WASI preview 1 cannot be used")]
    Adapter(#[source] anyhow::Error),
    /// The module does not implement its world.
    #[error("the module does not fit its world")]
    Encode(#[source] anyhow::Error),
}

/// Makes a component of the core module `core`.
///
/// # Errors
/// When the module is invalid, lacks what its world exports, or imports what neither its
/// world nor the adapter offers.
pub fn componentize(core: &[u8], options: &Options<'_>) -> Result<Vec<u8>, Error> {
    let mut module = core.to_vec();
    if let Some((folder, world)) = options.wit {
        embed(&mut module, folder, world)?;
    }
    let mut encoder = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .map_err(Error::Module)?;
    encoder = match options.adapter {
        Adapter::None => encoder,
        Adapter::Null => {
            let bytes = wat::parse_str(NULL_ADAPTER).map_err(|error| Error::Adapter(error.into()))?;
            encoder.adapter(PREVIEW1, &bytes).map_err(Error::Adapter)?
        }
        Adapter::Module(bytes) => encoder.adapter(PREVIEW1, bytes).map_err(Error::Adapter)?,
    };
    encoder.encode().map_err(Error::Encode)
}

fn embed(module: &mut Vec<u8>, folder: &Path, world: &str) -> Result<(), Error> {
    let unreadable = |source| Error::Wit {
        folder: folder.display().to_string(),
        world: world.to_owned(),
        source,
    };
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder).map_err(unreadable)?;
    let world = resolve.select_world(&[package], Some(world)).map_err(unreadable)?;
    wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).map_err(Error::Embed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    const PREPARE: &str = r#"
        (module
          {imports}
          (memory (export "memory") 1)
          (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
          (func (export "hyperfleet:adapter/setup@0.1.0#prepare") (param i32 i32) (result i32) i32.const 16))"#;

    fn module(imports: &str) -> Vec<u8> {
        wat::parse_str(PREPARE.replace("{imports}", imports)).unwrap()
    }

    fn contract() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit")
    }

    const CLOCK: &str = r#"(import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i64 i32) (result i32)))"#;

    #[test]
    fn a_module_becomes_a_component_that_exports_its_phase() {
        let folder = contract();
        let options = Options {
            wit: Some((&folder, "setup-plugin")),
            adapter: Adapter::None,
        };
        let component = componentize(&module(""), &options).unwrap();
        let decoded = wit_component::decode(&component).unwrap();
        let world = decoded.resolve().worlds.iter().next_back().unwrap().1;
        assert_eq!(world.exports.len(), 1);
    }

    #[test]
    fn a_module_that_imports_wasi_needs_an_adapter() {
        let folder = contract();
        let options = Options {
            wit: Some((&folder, "setup-plugin")),
            adapter: Adapter::None,
        };
        assert!(matches!(
            componentize(&module(CLOCK), &options),
            Err(Error::Encode(_) | Error::Module(_))
        ));
    }

    #[test]
    fn the_null_adapter_leaves_no_wasi_import() {
        let folder = contract();
        let options = Options {
            wit: Some((&folder, "setup-plugin")),
            adapter: Adapter::Null,
        };
        let component = componentize(&module(CLOCK), &options).unwrap();
        let text = String::from_utf8_lossy(&component).into_owned();
        assert!(!text.contains("wasi:"), "the component still imports WASI");
    }

    #[test]
    fn a_module_without_its_phase_is_refused() {
        let folder = contract();
        let options = Options {
            wit: Some((&folder, "status-plugin")),
            adapter: Adapter::None,
        };
        assert!(matches!(
            componentize(&module(""), &options),
            Err(Error::Encode(_) | Error::Module(_))
        ));
    }

    #[test]
    fn an_unknown_world_is_named() {
        let folder = contract();
        let options = Options {
            wit: Some((&folder, "no-such-world")),
            adapter: Adapter::None,
        };
        let error = componentize(&module(""), &options).unwrap_err();
        assert!(error.to_string().contains("no-such-world"));
    }
}
