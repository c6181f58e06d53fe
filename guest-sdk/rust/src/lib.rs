//! Write berth plugins in Rust.
//!
//! A plugin is a type that implements a trait for each phase it takes part in, and one line
//! that exports them:
//!
//! ```
//! use berth_sdk::{Answer, Facts, Failure, Preconditions, Verdict};
//! use serde::Deserialize;
//!
//! struct RegionCheck;
//!
//! #[derive(Deserialize)]
//! struct Spec {
//!     region: String,
//! }
//!
//! impl Preconditions for RegionCheck {
//!     fn preconditions(facts: &Facts) -> Result<Answer<Verdict>, Failure> {
//!         let spec: Spec = facts.subject.spec()?;
//!         if spec.region.starts_with("europe-") {
//!             Ok(Verdict::Proceed.into())
//!         } else {
//!             Ok(Verdict::NotApplicable(format!("{} is not in Europe", spec.region)).into())
//!         }
//!     }
//! }
//!
//! berth_sdk::plugin!(RegionCheck: preconditions);
//! # fn main() {}
//! ```
//!
//! Built for `wasm32-unknown-unknown` as a `cdylib`, the crate becomes a component that
//! exports these phases and no other, and that imports only the functions of [`fleet`],
//! [`cluster`] and [`http`] that it calls, and [`log`](mod@log). Built natively it is
//! ordinary Rust: call the functions from a test, and let [`testing::Fake`] answer what
//! they ask.
//!
//! # Guarantees
//! - There is nothing unsafe to write and nothing generated to learn.
//! - A panic is logged with its message and place before it becomes a trap.
//! - Documents are parsed when they are read, into the type that reads them.
//!
//! # Features
//! - `allocator` (on by default): the plugin allocates by an allocator that is made for instances that live for one
//!   call. Switch it off to use another `#[global_allocator]`.

mod answer;
#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator")))]
mod arena;
mod facts;
mod imports;
mod json;
mod phase;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod __bindings;

pub use answer::{
    Answer, Condition, Deletion, Draft, Effect, Failure, HttpAction, Manifest, Operation, OperationResult, Outcome,
    Plan, Problem, Propagation, Query, Selector, StatusAnswer, StatusReport, Truth, Unmet, Verdict,
};
pub use facts::{AdapterStatus, ContainerExit, Diagnosis, Facts, Object, Owner, Reference, Subject, Trigger};
pub use imports::{cluster, fleet, http, log};
pub use json::Json;
pub use phase::{Phase, Postconditions, Preconditions, RawSetup, Resources, Setup, Status, Vary, VaryBy};

/// Exports phases of a type: `berth_sdk::plugin!(MyType: preconditions, resources);`.
///
/// The phases are `setup`, `vary`, `preconditions`, `resources`, `postconditions` and `status`; the
/// type implements the trait of each. Natively this only checks that it does. Use it once.
#[macro_export]
macro_rules! plugin {
    ($type:ty: $($phase:ident),+ $(,)?) => {
        const _: () = {
            #[allow(dead_code)]
            type Exported = $crate::__exported!($type);
            $( $crate::__phase!($phase Exported); )+
        };
    };
}

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __exported {
    ($type:ty) => {
        $type
    };
}

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __phase {
    (setup $type:ident) => { $crate::__implements!(RawSetup $type); };
    (vary $type:ident) => { $crate::__implements!(Vary $type); };
    (preconditions $type:ident) => { $crate::__implements!(Preconditions $type); };
    (resources $type:ident) => { $crate::__implements!(Resources $type); };
    (postconditions $type:ident) => { $crate::__implements!(Postconditions $type); };
    (status $type:ident) => { $crate::__implements!(Status $type); };
    ($other:ident $type:ident) => {
        compile_error!(concat!(
            "`", stringify!($other), "` is no phase; ",
            "the phases are setup, vary, preconditions, resources, postconditions and status"
        ));
    };
}

#[cfg(not(target_arch = "wasm32"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __implements {
    ($trait:ident $type:ident) => {
        const _: () = {
            const fn implements<T: $crate::$trait>() {}
            implements::<$type>();
        };
    };
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __exported {
    ($type:ty) => { $crate::__bindings::Exports<$type> };
}

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
#[macro_export]
macro_rules! __phase {
    ($phase:ident $type:ident) => {
        #[allow(unsafe_code)]
        const _: () = {
    $crate::__bindings::$phase::export!($type with_types_in $crate::__bindings::$phase);
        };
    };
}
