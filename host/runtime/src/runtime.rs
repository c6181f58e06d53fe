//! Loads plugins: bytes in, something that can be called out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, HasSelf, Linker},
};

use crate::{
    again::Answers,
    bindings::imported,
    cache::{self, Cache},
    compiler::Compiler,
    engine,
    error::{LoadError, RuntimeError},
    plugin::{Digest, Plugin},
    settings::Settings,
    state::State,
};

/// Runs plugins. One per process: it holds the pool of instances and the compile cache.
pub struct Runtime {
    engine: Engine,
    linker: Linker<State>,
    slots: Arc<Semaphore>,
    answers: Arc<Answers>,
    cache: Option<Cache>,
    max_plugin_size: usize,
    /// Plugins in use, so that equal bytes are compiled and held once.
    loaded: Mutex<HashMap<Digest, Weak<Plugin>>>,
    /// Compiling uses all cores and much memory: one at a time.
    compiling: Mutex<()>,
    compiler: Option<Compiler>,
}

impl Runtime {
    /// Starts the engine, reserves the pool and opens the cache.
    ///
    /// # Errors
    /// When the cache's folder or key cannot be used, or the engine cannot be started. Too
    /// little address space for the pool is not an error.
    pub fn new(settings: &Settings) -> Result<Self, RuntimeError> {
        let cache = settings
            .cache
            .as_ref()
            .map(Cache::open)
            .transpose()
            .map_err(RuntimeError::Cache)?;
        let engine = engine::engine(settings)?;
        let linker = linker(&engine).map_err(RuntimeError::Engine)?;
        Ok(Self {
            engine,
            linker,
            slots: Arc::new(Semaphore::new(
                usize::try_from(settings.concurrency.get()).unwrap_or(usize::MAX),
            )),
            answers: Arc::new(Answers::new(settings.answers)),
            cache,
            max_plugin_size: settings.max_plugin_size,
            loaded: Mutex::default(),
            compiling: Mutex::default(),
            compiler: settings.compiler.clone(),
        })
    }

    /// Loads a plugin from the bytes of a component. Takes milliseconds if it is in the
    /// cache and seconds if not, so call it where blocking is allowed. Equal bytes give the
    /// same plugin.
    ///
    /// # Errors
    /// When the bytes are no component, use a proposal that is switched off, import what is
    /// not offered, or export no phase.
    pub fn load(&self, bytes: &[u8]) -> Result<Arc<Plugin>, LoadError> {
        if bytes.len() > self.max_plugin_size {
            return Err(LoadError::TooLarge {
                size: bytes.len(),
                limit: self.max_plugin_size,
            });
        }
        if Engine::detect_precompiled(bytes).is_some() {
            return Err(LoadError::Precompiled);
        }
        if bytes.starts_with(b"\0asm\x01\0\0\0") {
            return Err(LoadError::CoreModule);
        }
        let digest = Digest::of(bytes);
        if let Some(plugin) = self.live(&digest) {
            return Ok(plugin);
        }
        let component = self.compiled(bytes, &digest)?;
        self.hold(&component, digest)
    }

    /// The plugin with this digest, if it is in use or its code is in the cache: for callers that know by other means
    /// that these bytes are what they want, and need not read them. Call it where blocking is allowed.
    #[must_use]
    pub fn known(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        if let Some(plugin) = self.live(digest) {
            return Some(plugin);
        }
        let component = self.cache.as_ref()?.get(&self.engine, digest)?;
        self.hold(&component, digest.clone()).ok()
    }

    fn hold(&self, component: &Component, digest: Digest) -> Result<Arc<Plugin>, LoadError> {
        let plugin = Plugin::link(
            &self.engine,
            &self.linker,
            component,
            digest.clone(),
            self.slots.clone(),
            self.answers.clone(),
        )?;
        let plugin = Arc::new(plugin);
        let mut loaded = lock(&self.loaded);
        loaded.retain(|_, plugin| plugin.strong_count() > 0);
        loaded.insert(digest, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    /// The engine, for other modules.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    fn live(&self, digest: &Digest) -> Option<Arc<Plugin>> {
        lock(&self.loaded).get(digest).and_then(Weak::upgrade)
    }

    fn compiled(&self, bytes: &[u8], digest: &Digest) -> Result<Component, LoadError> {
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.get(&self.engine, digest)) {
            return Ok(component);
        }
        let _one = lock(&self.compiling);
        // Whoever waited here may find that the plugin was compiled meanwhile.
        if let Some(component) = self.cache.as_ref().and_then(|cache| cache.get(&self.engine, digest)) {
            return Ok(component);
        }
        let component = match &self.compiler {
            None => Component::from_binary(&self.engine, bytes),
            Some(compiler) => return self.adopted(compiler.compile(bytes)?, digest),
        }
        .map_err(LoadError::Invalid)?;
        if let Some(cache) = &self.cache {
            cache.put(&self.engine, digest, component.serialize());
        }
        Ok(component)
    }

    /// A plugin of the code that our compiler wrote.
    fn adopted(&self, code: Vec<u8>, digest: &Digest) -> Result<Component, LoadError> {
        if let Some(cache) = &self.cache {
            cache.put(&self.engine, digest, Ok(&code));
            // Its file is mapped, where a copy would stay in memory.
            if let Some(component) = cache.get(&self.engine, digest) {
                return Ok(component);
            }
        }
        cache::adopt(&self.engine, code).map_err(LoadError::Invalid)
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// All imports of the contract. They are always linked: tools import every interface of
/// their world, used or not, and what is not granted is denied when it is called.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    imported::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imported::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imported::fleet::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imported::cluster::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    imported::http::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// What the locks protect is whole at every moment, so a panic elsewhere changes nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
