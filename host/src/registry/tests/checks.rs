//! Every check that an artifact or a registry can fail, each with a name of its own.

use super::*;
use crate::registry::{component::ComponentError, layout::LayoutError};

/// Names each check once: a new kind of error does not compile until it has a name here, and then a case in `bad.rs`
/// or `wire.rs` is missing.
macro_rules! checks {
    ($($pattern:pat $(if $guard:expr)? => $name:literal,)*) => {
        /// Their names.
        pub(super) const CHECKS: &[&str] = &[$($name),*];

        /// Which one refused.
        pub(super) fn check(error: &Error) -> &'static str {
            match error {
                $($pattern $(if $guard)? => $name,)*
                Error::NotAllowed(_)
                | Error::MovedTag { .. }
                | Error::Signature { .. }
                | Error::Deadline { .. }
                | Error::Aborted { .. } => "none of the artifact",
            }
        }
    };
}

use Error::{Layout, Registry as Remote};
use LayoutError as L;

checks! {
    Layout { source: L::Manifest(_), .. } => "the manifest is JSON of a manifest",
    Layout { source: L::Schema(_), .. } => "schema version",
    Layout { source: L::MediaTypeDisagrees { .. }, .. } => "registry and manifest agree on its type",
    Layout { source: L::Index, .. } => "no index",
    Layout { source: L::ManifestType(_), .. } => "type of the manifest",
    Layout { source: L::ConfigType(_), .. } => "type of the config",
    Layout { source: L::NoLayer, .. } => "there is a layer",
    Layout { source: L::ManyLayers(_), .. } => "there is one layer",
    Layout { source: L::LayerType(_), .. } => "type of the layer",
    Layout { source: L::CompressedLayer(_), .. } => "a type that is not compressed",
    Layout { source: L::NativeLayer(_), .. } => "a type that is no native code",
    Layout { source: L::Size { what: "config", .. }, .. } => "a possible size of the config",
    Layout { source: L::Size { .. }, .. } => "a possible size of the layer",
    Layout { source: L::TooLarge { what: "config", .. }, .. } => "the promised size of the config",
    Layout { source: L::TooLarge { .. }, .. } => "the promised size of the layer",
    Layout { source: L::SizeDiffers { what: "config", .. }, .. } => "the config has the size promised",
    Layout { source: L::SizeDiffers { .. }, .. } => "the layer has the size promised",
    Layout { source: L::DigestDiffers { what: "config", .. }, .. } => "the config has the digest named",
    Layout { source: L::DigestDiffers { .. }, .. } => "the layer has the digest named",
    Layout { source: L::Config(_), .. } => "the config is JSON of a config",
    Layout { source: L::Platform { architecture, .. }, .. } if architecture != "wasm" => "architecture",
    Layout { source: L::Platform { .. }, .. } => "operating system",
    Layout { source: L::LayerDigests, .. } => "the config lists the layer",
    Layout { source: L::NoComponent, .. } => "the config describes the component",
    Layout { source: L::Declared { what: "imports", .. }, .. } => "declared imports",
    Layout { source: L::Declared { .. }, .. } => "declared exports",
    Layout { source: L::Component(ComponentError::NativeCode), .. } => "no native code",
    Layout { source: L::Component(ComponentError::Compressed), .. } => "not compressed",
    Layout { source: L::Component(ComponentError::CoreModule), .. } => "no core module",
    Layout { source: L::Component(ComponentError::Malformed(_)), .. } => "a whole component",
    Layout { source: L::Component(ComponentError::TooManyNames), .. } => "number of imports and exports",
    Remote { source: Fault::NotFound { .. }, .. } => "it is there",
    Remote { source: Fault::Unauthorized { .. }, .. } => "we are let in",
    Remote { source: Fault::Forbidden { .. }, .. } => "we may pull",
    Remote { source: Fault::RateLimited { .. }, .. } => "the rate is not limited for long",
    Remote { source: Fault::Unreachable { .. }, .. } => "the connection holds",
    Remote { source: Fault::TimedOut { .. }, .. } => "time",
    Remote { source: Fault::Tls { .. }, .. } => "TLS",
    Remote { source: Fault::Failed { .. } | Fault::Busy { .. }, .. } => "the registry works",
    Remote { source: Fault::Refused { .. }, .. } => "the registry does what it is asked for",
    Remote { source: Fault::TooLarge { what, .. }, .. } if what.contains("manifest") => "bytes of the manifest",
    Remote { source: Fault::TooLarge { .. }, .. } => "bytes of a blob",
    Remote { source: Fault::Truncated { .. }, .. } => "an answer has its length",
    Remote { source: Fault::DigestMismatch { what, .. }, .. } if what.contains("manifest") => "digest of the manifest",
    Remote { source: Fault::DigestMismatch { .. }, .. } => "digest of a blob",
    Remote { source: Fault::RedirectLoop { .. }, .. } => "redirects end",
    Remote { source: Fault::BadRedirect { .. }, .. } => "redirects lead to where we go",
    Remote { source: Fault::Malformed { .. }, .. } => "an answer of a registry",
    Remote { source: Fault::Misconfigured { .. }, .. } => "the settings can be used",
}

/// What no artifact and no registry can get wrong.
const OURS: &[&str] = &["the settings can be used"];

#[test]
fn every_check_has_a_case_and_there_are_more_than_forty() {
    let cases: std::collections::BTreeSet<&str> = bad::names().chain(wire::names()).collect();
    let wanted: std::collections::BTreeSet<&str> = CHECKS.iter().copied().filter(|name| !OURS.contains(name)).collect();
    let without: Vec<_> = wanted.difference(&cases).collect();
    assert!(without.is_empty(), "no case fails {without:#?}");
    let strange: Vec<_> = cases.difference(&wanted).collect();
    assert!(strange.is_empty(), "no check is called {strange:#?}");
    assert!(wanted.len() >= 40, "{}", wanted.len());
}
