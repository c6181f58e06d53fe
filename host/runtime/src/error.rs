//! Why a plugin cannot be loaded, and why a call gave no answer.

use std::{sync::Arc, time::Duration};

use berth_engine::{
    contract::{Failure, Phase, PluginFault},
    reason::Reason,
};

/// Why a runtime cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine refuses its settings, or the machine refuses the engine.
    #[error("the WebAssembly engine cannot be started")]
    Engine(#[source] wasmtime::Error),
    /// The compile cache cannot be used.
    #[error("the compile cache cannot be used")]
    Cache(#[source] crate::cache::CacheError),
    /// The thread that keeps time cannot be started.
    #[error("the thread that keeps time cannot be started")]
    Ticker(#[source] std::io::Error),
}

/// Why bytes are not a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There are too many of them.
    #[error("the plugin has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// How many there are.
        size: usize,
        /// How many there may be.
        limit: usize,
    },
    /// They are native code, which is never accepted from outside.
    #[error("the plugin is precompiled; only WebAssembly is accepted")]
    Precompiled,
    /// They are a core module.
    #[error("this is a core WebAssembly module, not a component; make a component of it first")]
    CoreModule,
    /// They are not a valid component, or one that uses a proposal that is switched off.
    #[error("this is not a component that can run here")]
    Invalid(#[source] wasmtime::Error),
    /// The compiler's process cannot be started, or its pipes broke.
    #[error("the compiler cannot be run")]
    NoCompiler(#[source] std::io::Error),
    /// They take the compiler too long.
    #[error("compiling the plugin takes longer than {limit:?}")]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// They become more code than is kept.
    #[error("the plugin compiles to more than {limit} bytes")]
    TooMuchCode {
        /// How much is kept.
        limit: u64,
    },
    /// The compiler's process ended without an answer: most often it wanted too much memory.
    #[error("the compiler died of the plugin ({status}){}", colon(.said))]
    CompilerDied {
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it said.
        said: String,
    },
    /// The component wants something that berth does not offer.
    #[error("the plugin imports `{0}`, which berth does not offer")]
    UnknownImport(String),
    /// An import or an export has another shape than in the contract.
    #[error("the plugin does not fit the contract `hyperfleet:adapter@0.1`")]
    Contract(#[source] wasmtime::Error),
    /// The component implements no phase.
    #[error("the plugin exports no phase of `hyperfleet:adapter@0.1`; it exports {}", list(.exports))]
    NoPhase {
        /// What it exports instead.
        exports: Vec<String>,
    },
}

impl LoadError {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "PluginTooLarge",
            Self::Precompiled => "NativeCode",
            Self::CoreModule => "CoreModule",
            Self::Invalid(_) => "InvalidComponent",
            Self::NoCompiler(_) => "NoCompiler",
            Self::TooSlow { .. } => "CompileTimeout",
            Self::TooMuchCode { .. } => "CompiledTooLarge",
            Self::CompilerDied { .. } => "CompilerDied",
            Self::UnknownImport(_) => "UnknownImport",
            Self::Contract(_) => "ContractMismatch",
            Self::NoPhase { .. } => "NoPhase",
        }
    }
}

fn colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "nothing".to_owned()
    } else {
        format!("`{}`", names.join("`, `"))
    }
}

/// Something wrong in a plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: keys joined by dots, indexes in brackets.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

/// Why a plugin's configuration was not prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The plugin refuses it.
    #[error("the plugin refuses its configuration: {}", summary(.0))]
    Problems(Vec<Problem>),
    /// The plugin gave no answer.
    #[error("the plugin could not check its configuration")]
    Call(#[source] Cause),
}

fn summary(problems: &[Problem]) -> String {
    let texts: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    texts.join("; ")
}

/// Why a call gave no answer.
///
/// A plugin that answers "no" has not failed: that is an answer.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` gave no answer in `{}`", phase.name())]
pub struct CallError {
    /// The plugin's name in the document.
    pub plugin: Arc<str>,
    /// The phase.
    pub phase: Phase,
    /// What happened.
    #[source]
    pub cause: Cause,
    /// How much fuel was used until then.
    pub fuel_used: u64,
}

impl CallError {
    /// The stable reason, for conditions and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.cause.reason()
    }

    /// What the engine is told.
    #[must_use]
    pub fn into_fault(self) -> PluginFault {
        let reason = match &self.cause {
            Cause::Failed(failure) if is_reason(&failure.reason) => failure.reason.clone(),
            other => other.reason().name().to_owned(),
        };
        let message = match self.cause {
            Cause::Failed(failure) => failure.message,
            other => format!(
                "Plugin `{}` gave no answer in `{}`: {other}.",
                self.plugin,
                self.phase.name()
            ),
        };
        PluginFault {
            plugin: self.plugin.to_string(),
            phase: self.phase,
            reason,
            message,
        }
    }
}

/// What happened to a call.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The plugin answered with a failure of its own.
    #[error("it failed with `{}`: {}", .0.reason, .0.message)]
    Failed(Failure),
    /// The guest trapped: a defect of the plugin.
    #[error("it trapped: {summary}")]
    Trapped {
        /// One line.
        summary: String,
        /// The trap with its backtrace.
        #[source]
        trap: wasmtime::Error,
    },
    /// The guest used up its instructions.
    #[error("it used up its {limit} units of fuel")]
    FuelExhausted {
        /// How many it had.
        limit: u64,
    },
    /// The guest did not finish in time.
    #[error("it did not finish within {limit:?}")]
    DeadlineExceeded {
        /// The time it had.
        limit: Duration,
    },
    /// What the guest asked of the host took too long.
    #[error("what it asked of APIs took more than {limit:?}")]
    HostTimeExceeded {
        /// The time it had.
        limit: Duration,
    },
    /// The guest wanted more memory.
    #[error("it needed more than its {limit} bytes of memory")]
    MemoryExceeded {
        /// How much it had.
        limit: usize,
    },
    /// The guest recursed too deep.
    #[error("its stack overflowed")]
    StackOverflow,
    /// The answer, or the arguments of an import, are too large.
    #[error("it handed over more than {limit} bytes at once")]
    OutputTooLarge {
        /// How much it may hand over.
        limit: usize,
    },
    /// The answer cannot be used.
    #[error("its answer cannot be used: `{field}` {problem}")]
    OutputInvalid {
        /// Which field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The plugin does not implement the phase, or no instance of it can be made.
    #[error("it cannot be started: {0}")]
    Unavailable(String),
}

impl Cause {
    /// The stable reason, for conditions and metrics.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Failed(_) => Reason::PluginFailed,
            Self::Trapped { .. } => Reason::PluginTrapped,
            Self::FuelExhausted { .. } => Reason::PluginFuelExhausted,
            Self::DeadlineExceeded { .. } => Reason::PluginDeadlineExceeded,
            Self::HostTimeExceeded { .. } => Reason::PluginHostTimeExceeded,
            Self::MemoryExceeded { .. } => Reason::PluginMemoryExceeded,
            Self::StackOverflow => Reason::PluginStackOverflow,
            Self::OutputTooLarge { .. } => Reason::PluginOutputTooLarge,
            Self::OutputInvalid { .. } => Reason::PluginOutputInvalid,
            Self::Unavailable(_) => Reason::PluginUnavailable,
        }
    }
}

/// Whether a text may stand as a condition's reason.
fn is_reason(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|first: char| first.is_ascii_uppercase())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use berth_engine::reason::Case;

    use super::*;

    /// One row a cause: all of them, and the reason of each. A cause without a row does not compile.
    macro_rules! rows {
        ($($name:ident $({ $($field:ident: $value:expr),+ })? $(($only:expr))? => $reason:ident;)+) => {
            fn causes() -> Vec<Cause> { vec![$( Cause::$name $({ $($field: $value),+ })? $(($only))?, )+] }

            fn expected(cause: &Cause) -> Reason { match cause { $( Cause::$name { .. } => Reason::$reason, )+ } }
        };
    }

    rows! {
        Failed(Failure { reason: String::new(), message: "no".to_owned() }) => PluginFailed;
        Trapped { summary: "unreachable".to_owned(), trap: wasmtime::Error::msg("unreachable") } => PluginTrapped;
        FuelExhausted { limit: 1 } => PluginFuelExhausted;
        DeadlineExceeded { limit: Duration::from_secs(1) } => PluginDeadlineExceeded;
        HostTimeExceeded { limit: Duration::from_secs(1) } => PluginHostTimeExceeded;
        MemoryExceeded { limit: 1 } => PluginMemoryExceeded;
        StackOverflow => PluginStackOverflow;
        OutputTooLarge { limit: 1 } => PluginOutputTooLarge;
        OutputInvalid { field: "carry".to_owned(), problem: "is not JSON".to_owned() } => PluginOutputInvalid;
        Unavailable("it does not export `status`".to_owned()) => PluginUnavailable;
    }

    #[test]
    fn every_cause_has_a_reason_of_its_own_that_is_told_in_a6_and_reaches_the_engine() {
        let mut seen = Vec::new();
        for cause in causes() {
            let reason = expected(&cause);
            let error = CallError {
                plugin: "lz".into(),
                phase: Phase::Status,
                cause,
                fuel_used: 0,
            };
            assert_eq!(error.reason(), reason);
            assert_eq!(reason.cases(), [Case::A6], "{reason}");
            assert!(!seen.contains(&reason), "{reason} is told of two causes");
            seen.push(reason);
            assert_eq!(error.into_fault().reason, reason.name());
        }
    }
}
