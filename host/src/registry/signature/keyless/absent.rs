//! In the place of verification by certificates, in builds without it: there is no trusted root, so nobody can trust
//! an identity.

use super::{Digest, Identity, Refusal, RootError, formats::Certified};

/// What is trusted of a Sigstore instance. There is none in this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrustedRoot {}

impl TrustedRoot {
    /// Would read a `trusted_root.json`.
    ///
    /// # Errors
    /// Always.
    pub fn read(_: &[u8]) -> Result<Self, RootError> {
        Err(RootError::Unsupported)
    }

    pub(super) fn signer(&self, _: &Digest, _: &Certified, _: &[&Identity]) -> Result<usize, Refusal> {
        match *self {}
    }
}
