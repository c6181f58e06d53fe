//! Who may send events.

use std::path::PathBuf;

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::answer::Fault;

/// A bearer token in a file. It is read for every request, so that it may be rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    file: PathBuf,
}

impl Token {
    /// The token is what `file` contains, without white space around it.
    #[must_use]
    pub fn in_file(file: PathBuf) -> Self {
        Self { file }
    }

    /// Whether a request presents it. A file that cannot be read, or is empty, admits nobody.
    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        let presented = presented(headers).ok_or(Fault::TokenMissing)?;
        let expected = match tokio::fs::read_to_string(&self.file).await {
            Ok(text) => text.trim().to_owned(),
            Err(error) => {
                tracing::error!(file = %self.file.display(), %error, "the token of the HTTP source cannot be read");
                return Err(Fault::TokenUnavailable);
            }
        };
        if expected.is_empty() {
            tracing::error!(file = %self.file.display(), "the token of the HTTP source is empty");
            return Err(Fault::TokenUnavailable);
        }
        if same(presented, &expected) {
            Ok(())
        } else {
            Err(Fault::TokenWrong)
        }
    }
}

fn presented(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Takes the same time wherever they differ: digests are compared, all of their bytes.
fn same(left: &str, right: &str) -> bool {
    let (left, right) = (Sha256::digest(left), Sha256::digest(right));
    left.iter()
        .zip(right.iter())
        .fold(0_u8, |differing, (left, right)| differing | (left ^ right))
        == 0
}
