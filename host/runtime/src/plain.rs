//! What loading costs wasmtime alone: the baseline that benchmarks compare the cache with.

use std::path::PathBuf;

use wasmtime::{Engine, component::Component};

use crate::{Runtime, error::LoadError};

/// Compiled code in a file that this process wrote, without any authentication. For benchmarks only.
pub struct Plain {
    engine: Engine,
    file: PathBuf,
}

impl std::fmt::Debug for Plain {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Plain")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Plain {
    /// Compiles a component as `runtime` does and writes its code to `file`, which nobody else may write.
    ///
    /// # Errors
    /// When the bytes are no component, or the file cannot be written.
    pub fn new(runtime: &Runtime, bytes: &[u8], file: PathBuf) -> Result<Self, LoadError> {
        let engine = runtime.engine().clone();
        let component = Component::from_binary(&engine, bytes).map_err(LoadError::Invalid)?;
        let code = component.serialize().map_err(LoadError::Invalid)?;
        std::fs::write(&file, code).map_err(|error| LoadError::Invalid(error.into()))?;
        Ok(Self { engine, file })
    }

    /// The same code in another file, which nobody else may write.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn copy(&self, file: PathBuf) -> Result<Self, LoadError> {
        std::fs::copy(&self.file, &file).map_err(|error| LoadError::Invalid(error.into()))?;
        Ok(Self {
            engine: self.engine.clone(),
            file,
        })
    }

    /// Maps the code.
    ///
    /// # Errors
    /// When the file is not what was written.
    #[expect(
        unsafe_code,
        clippy::disallowed_methods,
        reason = "the baseline is what loading costs without authentication; see below"
    )]
    pub fn load(&self) -> Result<Loaded, LoadError> {
        // SAFETY: the file was written by `new` from what `Component::serialize` gave, where nobody else may write.
        let loaded = unsafe { Component::deserialize_file(&self.engine, &self.file) };
        loaded.map(Loaded).map_err(LoadError::Invalid)
    }
}

/// Code that is loaded for as long as this lives.
pub struct Loaded(#[expect(dead_code, reason = "it only has to live")] Component);

impl std::fmt::Debug for Loaded {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_struct("Loaded").finish_non_exhaustive()
    }
}
