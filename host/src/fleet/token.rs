//! The bearer token, from a file that is rotated.

use std::path::{Path, PathBuf};

use berth_engine::effect::FleetFault;

/// No token is longer.
const LARGEST: usize = 64 * 1024;

/// Where the token comes from.
#[derive(Debug, Clone)]
pub(super) struct TokenFile(PathBuf);

impl TokenFile {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The token as it is now. The file is read each time: it is small and in memory, and
    /// a copy of ours could outlive a rotation.
    pub(super) async fn read(&self) -> Result<String, FleetFault> {
        let content = tokio::fs::read(&self.0)
            .await
            .map_err(|error| self.unusable(&format!("cannot be read: {error}; check that it is mounted")))?;
        if content.len() > LARGEST {
            return Err(self.unusable("is too large for a token"));
        }
        let token = content.trim_ascii();
        if token.is_empty() {
            return Err(self.unusable("is empty"));
        }
        match std::str::from_utf8(token) {
            Ok(token) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(token.to_owned()),
            Ok(_) | Err(_) => Err(self.unusable("holds characters that no token has")),
        }
    }

    fn unusable(&self, problem: &str) -> FleetFault {
        FleetFault::Misconfigured {
            message: format!("the token file `{}` {problem}", self.0.display()),
        }
    }
}
