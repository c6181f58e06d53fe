//! Why an artifact is no plugin.

use crate::registry::{component::ComponentError, reference::Digest};

/// Why an artifact is no plugin.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The manifest is no JSON.
    #[error("the manifest is malformed")]
    Manifest(#[source] serde_json::Error),
    /// The manifest's schema version is not 2.
    #[error("the manifest has schema version {0}, not 2")]
    Schema(String),
    /// What the registry calls the manifest is not what it calls itself.
    #[error("the registry calls the manifest `{sent}`, the manifest calls itself `{written}`")]
    MediaTypeDisagrees {
        /// In the registry's answer.
        sent: String,
        /// In the manifest.
        written: String,
    },
    /// An index of several manifests.
    #[error("the reference points to an index of several manifests: name one of them by digest")]
    Index,
    /// Another kind of manifest.
    #[error("a manifest of type `{0}` is no plugin")]
    ManifestType(String),
    /// No config.
    #[error("the manifest names no config")]
    NoConfig,
    /// Something is named without saying what it is.
    #[error("the {0} that the manifest names has no type")]
    NoType(&'static str),
    /// A digest that cannot be computed here.
    #[error("the {what} that the manifest names has a digest of the kind `{kind}`, not `sha256`")]
    DigestKind {
        /// Config or layer.
        what: &'static str,
        /// As written; empty if there is none.
        kind: String,
    },
    /// A digest that is none.
    #[error(
        "the {what} that the manifest names has the digest `{text}`, which is not `sha256:` and 64 lower-case hexadecimal digits"
    )]
    Digest {
        /// Config or layer.
        what: &'static str,
        /// As written.
        text: String,
    },
    /// A size that is none.
    #[error("the {what} that the manifest names has the size {size}, which is no whole number of bytes")]
    NoSize {
        /// Config or layer.
        what: &'static str,
        /// As written.
        size: String,
    },
    /// Annotations that are no texts.
    #[error("the manifest's annotations are malformed")]
    Annotations(#[source] serde_json::Error),
    /// A config of another kind.
    #[error("a config of type `{0}` is no plugin's")]
    ConfigType(String),
    /// No layer.
    #[error("the manifest has no layer")]
    NoLayer,
    /// More than one layer.
    #[error("the manifest has {0} layers: a plugin has one")]
    ManyLayers(usize),
    /// A layer of another kind.
    #[error("a layer of type `{0}` is no component")]
    LayerType(String),
    /// A compressed layer.
    #[error("a layer of type `{0}` is compressed: push the component as it is")]
    CompressedLayer(String),
    /// A layer of native code.
    #[error("a layer of type `{0}` is native code: push the component itself")]
    NativeLayer(String),
    /// A size below one, or above what is possible.
    #[error("the {what} is said to have {size} bytes")]
    Size {
        /// Config or layer.
        what: &'static str,
        /// As written.
        size: i64,
    },
    /// A larger config or layer than allowed.
    #[error("the {what} has {size} bytes, more than {limit}")]
    TooLarge {
        /// Config or layer.
        what: &'static str,
        /// As written.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The bytes have another size than the manifest says.
    #[error("the {what} has {got} bytes, the manifest says {expected}")]
    SizeDiffers {
        /// Config or layer.
        what: &'static str,
        /// In the manifest.
        expected: u64,
        /// In fact.
        got: u64,
    },
    /// The bytes have another digest than the manifest says.
    #[error("the {what} has the digest {got}, the manifest says {expected}")]
    DigestDiffers {
        /// Config or layer.
        what: &'static str,
        /// In the manifest.
        expected: Digest,
        /// In fact.
        got: Digest,
    },
    /// The config is no JSON of a config.
    #[error("the config is malformed")]
    Config(#[source] serde_json::Error),
    /// A config for another machine.
    #[error("the config is for the architecture `{0}`, a plugin's is for `wasm`")]
    Architecture(String),
    /// A config for another system.
    #[error("the config is for the system `{0}`, a plugin's is for `wasip2`")]
    System(String),
    /// The config lists other layers than the manifest.
    #[error("the config lists other layers than the manifest")]
    LayerDigests,
    /// No config that could describe the component.
    #[error(
        "a layer of this type comes with a config of the type `{}`, and there is none",
        super::CONFIG
    )]
    Undeclared,
    /// The config does not describe the component.
    #[error("the config does not say what the component imports and exports")]
    NoComponent,
    /// The config says otherwise than the component.
    #[error("the config says that the component {what} {declared}, but it {what} {actual}")]
    Declared {
        /// `imports` or `exports`.
        what: &'static str,
        /// In the config.
        declared: String,
        /// In the component.
        actual: String,
    },
    /// The layer is no component.
    #[error(transparent)]
    Component(#[from] ComponentError),
}

impl LayoutError {
    /// Stable name of the cause.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Manifest(_)
            | Self::NoConfig
            | Self::NoType(_)
            | Self::DigestKind { .. }
            | Self::Digest { .. }
            | Self::NoSize { .. }
            | Self::Annotations(_) => "MalformedManifest",
            Self::Schema(_) => "SchemaVersion",
            Self::MediaTypeDisagrees { .. } => "MediaTypeDisagrees",
            Self::Index => "Index",
            Self::ManifestType(_) => "ManifestType",
            Self::ConfigType(_) => "ConfigType",
            Self::NoLayer => "NoLayer",
            Self::ManyLayers(_) => "ManyLayers",
            Self::LayerType(_) => "LayerType",
            Self::CompressedLayer(_) => "Compressed",
            Self::NativeLayer(_) => "NativeCode",
            Self::Size { .. } => "BadSize",
            Self::TooLarge { .. } => "TooLarge",
            Self::SizeDiffers { .. } => "SizeDiffers",
            Self::DigestDiffers { .. } => "DigestMismatch",
            Self::Config(_) => "MalformedConfig",
            Self::Architecture(_) | Self::System(_) => "Platform",
            Self::LayerDigests => "LayerDigests",
            Self::Undeclared | Self::NoComponent => "NoComponent",
            Self::Declared { .. } => "DeclarationDiffers",
            Self::Component(error) => error.reason(),
        }
    }
}
