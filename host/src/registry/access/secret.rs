//! Texts that are never shown.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use url::form_urlencoded::byte_serialize;

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
    /// All texts that must not be shown: in every form in which they are sent, or may come back.
    pub(in crate::registry) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        match self {
            Self::Anonymous => {}
            Self::Basic { user, password } => {
                secrets.add(password.reveal());
                secrets.add(&format!("{}:{}", user.reveal(), password.reveal()));
            }
            Self::Identity(token) | Self::Bearer(token) => secrets.add(token.reveal()),
        }
        secrets
    }
}

/// Texts that are looked for in what others say, so that it is not repeated.
#[derive(Clone, Default)]
pub(in crate::registry) struct Secrets(Vec<String>);

impl fmt::Debug for Secrets {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("(secrets)")
    }
}

impl Secrets {
    /// Adds a text, and what it looks like in a header and in an address.
    pub(in crate::registry) fn add(&mut self, text: &str) {
        let encoded = STANDARD.encode(text);
        let forms = [
            text.to_owned(),
            encoded.trim_end_matches('=').to_owned(),
            encoded.trim_end_matches('=').replace('+', "-").replace('/', "_"),
            byte_serialize(text.as_bytes()).collect(),
            text.replace('"', "\\\""),
        ];
        for form in forms.iter().map(|form| form.to_ascii_lowercase()) {
            if !form.is_empty() && !self.0.contains(&form) {
                self.0.push(form);
            }
        }
    }

    /// Adds those of another.
    pub(in crate::registry) fn extend(&mut self, more: &Self) {
        for form in &more.0 {
            if !self.0.contains(form) {
                self.0.push(form.clone());
            }
        }
    }

    /// Whether a text repeats one of them. Names of hosts come back in small letters, so letters count whatever their size.
    pub(in crate::registry) fn are_in(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.0.iter().any(|form| text.contains(form.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_in_every_form_in_which_it_may_come_back() {
        let secrets = Credentials::Basic {
            user: Secret::new("robot"),
            password: Secret::new("hunter2/\"+?"),
        }
        .secrets();
        for text in [
            "you sent hunter2/\"+?",
            "you sent robot:hunter2/\"+?!",
            r#"{"password": "hunter2/\"+?"}"#,
            "password=hunter2%2F%22%2B%3F&service=x",
            &format!("Basic {}", STANDARD.encode("robot:hunter2/\"+?")),
            &format!(
                "{} in small letters",
                STANDARD.encode("robot:hunter2/\"+?").to_lowercase()
            ),
            STANDARD.encode("hunter2/\"+?").trim_end_matches('='),
        ] {
            assert!(secrets.are_in(text), "{text}");
        }
        for text in ["robot", "hunter", "Basic", ""] {
            assert!(!secrets.are_in(text), "{text}");
        }
        assert!(!format!("{secrets:?}").contains("hunter2"));
        assert!(!Credentials::Anonymous.secrets().are_in("anything"));
        let token = Credentials::Identity(Secret::new("t0ken/"));
        assert!(token.secrets().are_in("refresh_token=t0ken%2F"));
    }
}
