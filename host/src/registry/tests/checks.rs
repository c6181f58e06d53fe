//! Which check refuses an artifact, or a registry's answer.

use std::collections::BTreeSet;

use super::*;
use crate::registry::{check::Check, component::ComponentError, layout::LayoutError};

/// The check that a refusal comes from; none for what is no check of ours. A new kind of error does not compile until it
/// is told here, and then its case in `bad.rs` or `wire.rs` is missing.
pub(super) fn check(error: &Error) -> Option<Check> {
    match error {
        Error::Layout { source, .. } => Some(of_layout(source)),
        Error::Registry { source, .. } => of_registry(source),
        Error::NotAllowed(_)
        | Error::MovedTag { .. }
        | Error::Signature { .. }
        | Error::Deadline { .. }
        | Error::Aborted { .. } => None,
    }
}

fn of_layout(error: &LayoutError) -> Check {
    use LayoutError as L;
    let either = |what: &str, config, layer| if what == "config" { config } else { layer };
    match error {
        L::Manifest(_) => Check::ManifestJson,
        L::Schema(_) => Check::ManifestSchema,
        L::MediaTypeDisagrees { .. } => Check::ManifestTypeAgrees,
        L::Index => Check::ManifestNoIndex,
        L::ManifestType(_) => Check::ManifestType,
        L::NoConfig => Check::ConfigNamed,
        L::NoType(_) => Check::PartType,
        L::DigestKind { .. } => Check::PartDigestKind,
        L::Digest { .. } => Check::PartDigest,
        L::NoSize { .. } => Check::PartSize,
        L::Annotations(_) => Check::Annotations,
        L::ConfigType(_) => Check::ConfigType,
        L::NoLayer => Check::LayerNamed,
        L::ManyLayers(_) => Check::LayerAlone,
        L::LayerType(_) => Check::LayerType,
        L::CompressedLayer(_) => Check::LayerTypeNotPacked,
        L::NativeLayer(_) => Check::LayerTypeNotNative,
        L::Undeclared => Check::LayerTypeWithConfig,
        L::Size { what, .. } => either(what, Check::ConfigSizePossible, Check::LayerSizePossible),
        L::TooLarge { what, .. } => either(what, Check::ConfigSizeBound, Check::LayerSizeBound),
        L::SizeDiffers { what, .. } => either(what, Check::ConfigSize, Check::LayerSize),
        L::DigestDiffers { what, .. } => either(what, Check::ConfigDigest, Check::LayerDigest),
        L::Config(_) => Check::ConfigJson,
        L::Architecture(_) => Check::ConfigArchitecture,
        L::System(_) => Check::ConfigSystem,
        L::LayerDigests => Check::ConfigLayers,
        L::NoComponent => Check::ConfigComponent,
        L::Declared { what: "imports", .. } => Check::DeclaredImports,
        L::Declared { .. } => Check::DeclaredExports,
        L::Component(ComponentError::NativeCode) => Check::NoNativeCode,
        L::Component(ComponentError::Compressed) => Check::NotPacked,
        L::Component(ComponentError::NoWebAssembly) => Check::WebAssembly,
        L::Component(ComponentError::CoreModule) => Check::NoCoreModule,
        L::Component(ComponentError::Malformed(_)) => Check::WholeComponent,
        L::Component(ComponentError::TooManyNames) => Check::FewNames,
    }
}

fn of_registry(fault: &Fault) -> Option<Check> {
    Some(match fault {
        Fault::TooLarge { announced: Some(_), .. } => Check::AnswerAnnounced,
        Fault::TooLarge { announced: None, .. } => Check::AnswerBytes,
        Fault::Truncated { .. } => Check::AnswerWhole,
        Fault::DigestMismatch { what, .. } if what == "the manifest" => Check::PulledDigest,
        Fault::DigestMismatch { what, .. } if what.starts_with("manifest") => Check::AnsweredManifest,
        Fault::DigestMismatch { .. } => Check::AnsweredBlob,
        Fault::RedirectLoop { .. } => Check::RedirectsEnd,
        Fault::BadRedirect { .. } => Check::RedirectTarget,
        Fault::Malformed { message } if message.contains("is encoded as") => Check::AnswerPlain,
        Fault::Malformed { message } if message.contains("leads nowhere") => Check::RedirectGiven,
        // What a registry says, or that it says nothing: there is nothing to check.
        Fault::Malformed { .. }
        | Fault::NotFound { .. }
        | Fault::Unauthorized { .. }
        | Fault::Forbidden { .. }
        | Fault::RateLimited { .. }
        | Fault::Unreachable { .. }
        | Fault::TimedOut { .. }
        | Fault::Tls { .. }
        | Fault::Failed { .. }
        | Fault::Busy { .. }
        | Fault::Refused { .. }
        | Fault::ListKept { .. }
        | Fault::Misconfigured { .. } => return None,
    })
}

#[test]
fn every_check_has_one_case_and_there_are_more_than_forty() {
    let cases: Vec<Check> = bad::checks().chain(wire::checks()).collect();
    let distinct: BTreeSet<Check> = cases.iter().copied().collect();
    assert_eq!(distinct.len(), cases.len(), "two cases have the same check");
    let all: BTreeSet<Check> = Check::ALL.iter().copied().collect();
    let without: Vec<_> = all.difference(&distinct).collect();
    assert!(without.is_empty(), "no case fails {without:?}");
    assert!(cases.len() >= 40, "{}", cases.len());
}
