//! A loaded plugin: who it is, what it exports, and how its calls begin.

use std::{fmt, sync::Arc};

use berth_engine::contract::Phase;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};

use crate::{
    again::Answers,
    bindings::exported::{postconditions, preconditions, resources, setup, status, vary},
    error::LoadError,
    state::State,
    wasi,
};

/// Which component: the SHA-256 of its bytes in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hex::encode(Sha256::digest(bytes)).into())
    }

    /// 64 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.as_str().to_owned()
    }
}

/// A text that is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest in lower-case hex")]
pub struct NotADigest(String);

impl TryFrom<String> for Digest {
    type Error = NotADigest;

    fn try_from(text: String) -> Result<Self, NotADigest> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() == 64 && text.bytes().all(digit) {
            Ok(Self(text.into()))
        } else {
            Err(NotADigest(text))
        }
    }
}

/// A plugin that can be called, by any number of callers at once.
pub struct Plugin {
    pub(crate) digest: Digest,
    pub(crate) instance: InstancePre<State>,
    pub(crate) exports: Exports,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) answers: Arc<Answers>,
    pub(crate) uses_wasi: bool,
    imports: Vec<String>,
}

/// The interfaces of the contract that a component exports, each found by itself.
#[derive(Default)]
pub(crate) struct Exports {
    pub(crate) setup: Option<setup::GuestIndices>,
    pub(crate) vary: Option<vary::GuestIndices>,
    pub(crate) preconditions: Option<preconditions::GuestIndices>,
    pub(crate) resources: Option<resources::GuestIndices>,
    pub(crate) postconditions: Option<postconditions::GuestIndices>,
    pub(crate) status: Option<status::GuestIndices>,
}

impl Plugin {
    /// Which component this is.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Where its code is: another plugin's is elsewhere, and so is that of the same bytes loaded anew.
    pub(crate) fn code(&self) -> usize {
        self.instance.component().image_range().start.addr()
    }

    /// The phases that it implements, in the order in which they run.
    #[must_use]
    pub fn phases(&self) -> Vec<Phase> {
        Phase::ALL.into_iter().filter(|phase| self.exports(*phase)).collect()
    }

    /// Whether it implements a phase.
    #[must_use]
    pub fn exports(&self, phase: Phase) -> bool {
        match phase {
            Phase::Preconditions => self.exports.preconditions.is_some(),
            Phase::Resources => self.exports.resources.is_some(),
            Phase::Postconditions => self.exports.postconditions.is_some(),
            Phase::Status => self.exports.status.is_some(),
        }
    }

    /// Whether it checks and prepares its configuration.
    #[must_use]
    pub fn has_setup(&self) -> bool {
        self.exports.setup.is_some()
    }

    /// The names of the interfaces that it imports.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.imports
    }

    /// Links a compiled component. `linker` holds the imports of the contract.
    pub(crate) fn link(
        engine: &Engine,
        linker: &Linker<State>,
        component: &Component,
        digest: Digest,
        slots: Arc<Semaphore>,
        answers: Arc<Answers>,
    ) -> Result<Self, LoadError> {
        let ty = component.component_type();
        let imports: Vec<String> = ty.imports(engine).map(|(name, _)| name.to_owned()).collect();
        if let Some(unknown) = imports.iter().find(|name| !is_offered(name)) {
            return Err(LoadError::UnknownImport(unknown.clone()));
        }
        let uses_wasi = imports.iter().any(|name| name.starts_with("wasi:"));
        let instance = if uses_wasi {
            let mut linker = linker.clone();
            wasi::add_to_linker(&mut linker)
                .and_then(|()| wasi::denied::add_to_linker(&mut linker, engine, component, is_answered))
                .map_err(LoadError::Contract)?;
            linker.instantiate_pre(component)
        } else {
            linker.instantiate_pre(component)
        }
        .map_err(LoadError::Contract)?;
        let exports = Exports::find(component, &instance)?;
        let plugin = Self {
            digest,
            instance,
            exports,
            slots,
            answers,
            uses_wasi,
            imports,
        };
        if plugin.phases().is_empty() {
            return Err(LoadError::NoPhase {
                exports: ty.exports(engine).map(|(name, _)| name.to_owned()).collect(),
            });
        }
        Ok(plugin)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("digest", &self.digest)
            .field("phases", &self.phases())
            .finish_non_exhaustive()
    }
}

impl Exports {
    fn find(component: &Component, instance: &InstancePre<State>) -> Result<Self, LoadError> {
        let has = |name: &str| component.get_export_index(None, name).is_some();
        macro_rules! find {
            ($interface:ident) => {
                if has(concat!("hyperfleet:adapter/", stringify!($interface), "@0.1.0")) {
                    Some($interface::GuestIndices::new(instance).map_err(LoadError::Contract)?)
                } else {
                    None
                }
            };
        }
        Ok(Self {
            setup: find!(setup),
            vary: find!(vary),
            preconditions: find!(preconditions),
            resources: find!(resources),
            postconditions: find!(postconditions),
            status: find!(status),
        })
    }
}

/// Whether an import can be there at all. Versions of one minor number are compatible.
fn is_offered(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let ours = ["types", "log", "fleet", "cluster", "http"]
        .iter()
        .any(|known| interface.strip_prefix("hyperfleet:adapter/") == Some(known));
    (ours && version.starts_with("0.1.")) || (interface.starts_with("wasi:") && version.starts_with("0.2."))
}

/// Whether a WASI interface is implemented; all others are denied.
fn is_answered(name: &str) -> bool {
    let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
    matches!(
        interface,
        "wasi:io/error"
            | "wasi:io/poll"
            | "wasi:io/streams"
            | "wasi:clocks/wall-clock"
            | "wasi:clocks/monotonic-clock"
            | "wasi:random/random"
            | "wasi:random/insecure"
            | "wasi:random/insecure-seed"
            | "wasi:cli/environment"
            | "wasi:cli/exit"
            | "wasi:cli/stdin"
            | "wasi:cli/stdout"
            | "wasi:cli/stderr"
            | "wasi:cli/terminal-input"
            | "wasi:cli/terminal-output"
            | "wasi:cli/terminal-stdin"
            | "wasi:cli/terminal-stdout"
            | "wasi:cli/terminal-stderr"
    )
}
