//! A component becomes an artifact in a registry.

use super::{
    layout::{LayoutError, Packed, pack},
    reference::{At, Digest, Repository},
    remote::{Fault, MANIFEST, Remote},
};

/// Why a component was not pushed.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// It is none.
    #[error("this cannot be pushed as a plugin")]
    Layout(#[source] LayoutError),
    /// The registry.
    #[error("cannot push to `{repository}`")]
    Registry {
        /// Where to.
        repository: Repository,
        /// What the registry says.
        #[source]
        source: Fault,
    },
    /// The registry stored something else.
    #[error("the registry answers with the digest {got}, for what has {expected}")]
    Differs {
        /// What was sent.
        expected: Digest,
        /// What came back.
        got: Digest,
    },
}

/// Pushes a component; `told` is called with the number of bytes after each part.
///
/// # Errors
/// When `bytes` are no component, or the registry does not take them.
pub async fn push(
    remote: &dyn Remote,
    repository: &Repository,
    tag: Option<&str>,
    bytes: &[u8],
    told: &(dyn Fn(&str, u64) + Send + Sync),
) -> Result<Packed, PushError> {
    let packed = pack(bytes).map_err(PushError::Layout)?;
    let refused = |source| PushError::Registry {
        repository: repository.clone(),
        source,
    };
    remote.push_blob(repository, bytes).await.map_err(refused)?;
    told("component", bytes.len() as u64);
    remote.push_blob(repository, &packed.config).await.map_err(refused)?;
    told("config", packed.config.len() as u64);
    let at = tag.map_or_else(|| At::Digest(packed.digest.clone()), |tag| At::Tag(tag.to_owned()));
    let got = remote
        .push_manifest(repository, &at, MANIFEST, &packed.manifest)
        .await
        .map_err(refused)?;
    if got != packed.digest {
        return Err(PushError::Differs {
            expected: packed.digest,
            got,
        });
    }
    told("manifest", packed.manifest.len() as u64);
    Ok(packed)
}
