//! Who may sign by certificates.

use crate::config::{
    check::Check,
    host::merge::{Values, unreadable},
    reader::Item,
    units::Unreadable,
};

/// Whether this build verifies certificates.
const SUPPORTED: bool = cfg!(feature = "keyless");

/// Who may have signed by a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who vouched for the subject, exactly as in the certificate.
    pub issuer: String,
    /// The email address or URI, exactly as in the certificate.
    pub subject: String,
}

impl Values {
    /// The identities for all adapters.
    pub(super) fn identities(&mut self, has_root: bool) -> Option<Vec<Identity>> {
        let identities = self.mapping("registries.identities", listed)?;
        match usable(&identities, has_root, SUPPORTED) {
            Ok(()) => Some(identities),
            Err(Unreadable { message, hint }) => {
                self.wrong("registries.identities", message, Some(hint));
                None
            }
        }
    }
}

/// The identities of a list.
pub(super) fn listed(item: &Item<'_>) -> Option<Vec<Identity>> {
    let identities = item.list()?.into_iter().filter_map(|item| {
        let told = item.mapping(&["issuer", "subject"])?;
        let (issuer, subject) = (told.require("issuer"), told.require("subject"));
        Some(Identity {
            issuer: issuer?.text()?.to_owned(),
            subject: subject?.text()?.to_owned(),
        })
    });
    Some(identities.collect())
}

/// Notes what is wrong with the identities of an adapter.
pub(super) fn check(item: &Item<'_>, identities: &[Identity], has_root: bool) {
    if let Err(Unreadable { message, hint }) = usable(identities, has_root, SUPPORTED) {
        item.wrong(Check::KeyGiven, message, Some(hint));
    }
}

fn usable(identities: &[Identity], has_root: bool, supported: bool) -> Result<(), Unreadable> {
    if identities.is_empty() || (supported && has_root) {
        return Ok(());
    }
    Err(if supported {
        unreadable(
            "needs the authorities and logs that the certificates come from".to_owned(),
            "name the `trusted_root.json` of the Sigstore instance in `trustedRoot`",
        )
    } else {
        unreadable(
            "this build of berth has no keyless verification".to_owned(),
            "build with `--features keyless`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_need_a_trusted_root_and_a_build_that_verifies_them() {
        let identities = [Identity {
            issuer: "https://issuer.example.com".to_owned(),
            subject: "release@example.com".to_owned(),
        }];
        let told = |has_root, supported| {
            let told = usable(&identities, has_root, supported).unwrap_err();
            format!("{}; {}", told.message, told.hint)
        };
        assert_eq!(
            told(true, false),
            "this build of berth has no keyless verification; build with `--features keyless`"
        );
        assert!(told(false, true).contains("`trustedRoot`"), "{}", told(false, true));
        assert_eq!(usable(&identities, true, true), Ok(()));
        assert_eq!(usable(&[], false, false), Ok(()));
    }
}
