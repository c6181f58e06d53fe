//! What the endpoint tells of adapters and plugins.

use berth_engine::effect::KindScope;
use serde::{Deserialize, Serialize};

/// How an adapter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// What is wanted is live.
    Live,
    /// What is wanted cannot be live; an earlier version of it is.
    Outdated,
    /// What is wanted cannot be live, and nothing is.
    Refused,
    /// Its plugins are being fetched for the first time.
    Loading,
    /// Its document was taken away while this host ran; its objects stay until they are purged.
    Removed,
}

impl Standing {
    /// The word, as in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Outdated => "outdated",
            Self::Refused => "refused",
            Self::Loading => "loading",
            Self::Removed => "removed",
        }
    }
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdapterState {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: Standing,
    /// The file that it stands in, or stood in.
    pub file: Option<String>,
    /// The digest of the document that is live, without comments and layout; 12 hex digits.
    pub live: Option<String>,
    /// Since when it is live, RFC 3339; of a removed one, since when it is removed.
    pub since: Option<String>,
    /// The digest of the document that is wanted; none if it cannot be read.
    pub wanted: Option<String>,
    /// Why what is wanted is not live: file, line, path, and what to do.
    pub problems: Vec<String>,
    /// Kinds of subjects that it takes care of.
    pub subjects: Vec<String>,
    /// The namespace of its objects and of its service account.
    pub namespace: Option<String>,
    /// As whom it writes, and reads what is granted; none where its document cannot be read.
    pub service_account: Option<String>,
    /// Kinds of objects that it may have created.
    pub kinds: Vec<Scope>,
    /// Its plugins.
    pub plugins: Vec<PluginState>,
}

/// A kind of objects, and where they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// Group and version.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; none for all.
    pub namespace: Option<String>,
}

impl From<KindScope> for Scope {
    fn from(scope: KindScope) -> Self {
        let KindScope {
            api_version,
            kind,
            namespace,
        } = scope;
        Self {
            api_version,
            kind,
            namespace,
        }
    }
}

impl From<Scope> for KindScope {
    fn from(scope: Scope) -> Self {
        let Scope {
            api_version,
            kind,
            namespace,
        } = scope;
        Self {
            api_version,
            kind,
            namespace,
        }
    }
}

/// A plugin of an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginState {
    /// The adapter.
    pub adapter: String,
    /// The plugin's name in the document.
    pub plugin: String,
    /// Where it comes from: `file:…`, `oci://…`, or `embedded`.
    pub source: String,
    /// The digest that is live, with its algorithm: of the file, or of the manifest.
    pub live: Option<String>,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Whose signatures were verified.
    pub signed_by: Vec<String>,
    /// The newest digest that was seen, if another than the live one.
    pub newer: Option<String>,
    /// Why nothing newer is live, or nothing at all.
    pub why: Option<String>,
}
