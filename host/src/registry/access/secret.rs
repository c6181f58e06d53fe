//! Texts that are never shown.

use std::fmt;

/// A password, a token, or a header made of one. No text, error or debug output shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for those who send it.
    pub(in crate::registry) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("(secret)")
    }
}

/// How somebody proves to a registry who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// They do not.
    Anonymous,
    /// By a name and a password, sent to the registry or to its token server.
    Basic {
        /// The name.
        user: Secret,
        /// The password.
        password: Secret,
    },
    /// By a token that the token server exchanges for others.
    Identity(Secret),
    /// By a token that the registry takes as it is.
    Bearer(Secret),
}

impl Credentials {
    /// All texts that must not be shown.
    pub(in crate::registry) fn secrets(&self) -> Vec<&Secret> {
        match self {
            Self::Anonymous => Vec::new(),
            Self::Basic { user: _, password } => vec![password],
            Self::Identity(token) | Self::Bearer(token) => vec![token],
        }
    }
}
