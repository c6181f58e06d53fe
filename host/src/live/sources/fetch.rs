//! One fetch, apart from everything else: from a reference to a component that can be called.

use std::sync::Arc;

use berth_runtime::Plugin;
use tokio::sync::Semaphore;

use super::Usable;
use crate::{
    plugins::Loader,
    world::{Artifact, ArtifactFault, Artifacts, Recipient, Refresh},
};

/// So many registries are asked at once, and no more components than this are in memory for it.
const FETCHES: usize = 4;

/// Bounds what fetches do at once. What is in the caches does not wait for registries.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    registries: Arc<Semaphore>,
    caches: Arc<Semaphore>,
}

impl Doors {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            registries: Arc::new(Semaphore::new(FETCHES)),
            caches: Arc::new(Semaphore::new(threads)),
        }
    }
}

/// What is fetched.
pub(super) struct Wish {
    pub(super) reference: String,
    /// Whose own rules and credentials decide; none where the host's do.
    pub(super) recipient: Option<Recipient>,
    pub(super) refresh: Refresh,
    /// The digest that can be used already.
    pub(super) usable: Option<String>,
    /// A digest that is not compiled again, and why it cannot be.
    pub(super) broken: Option<(String, String)>,
}

/// What came.
pub(super) struct Arrived {
    pub(super) digest: String,
    pub(super) signed_by: Vec<String>,
    pub(super) compiled: Compiled,
    /// Whether the registry was asked; else it is what was known from before.
    pub(super) asked: bool,
    /// Why it is not what the registry has now.
    pub(super) stale: Option<ArtifactFault>,
}

/// What became of the component.
pub(super) enum Compiled {
    /// It is what can be used already.
    Same,
    /// It is another one.
    New(Arc<Plugin>),
    /// It cannot be used; this is why, and it was tried now.
    Failed(String),
    /// It cannot be used, as was found before.
    StillBroken(String),
}

/// Fetches and compiles.
pub(super) async fn fetch(
    artifacts: &dyn Artifacts,
    loader: &Loader,
    doors: &Doors,
    wish: Wish,
) -> Result<Arrived, ArtifactFault> {
    let Wish {
        reference,
        recipient,
        refresh,
        usable,
        broken,
    } = wish;
    let recipient = recipient.as_ref();
    if refresh == Refresh::Known
        && let Some(usable) = known(artifacts, loader, doors, recipient, &reference).await
    {
        return Ok(Arrived {
            digest: usable.digest,
            signed_by: usable.signed_by,
            compiled: Compiled::New(usable.plugin),
            asked: false,
            stale: None,
        });
    }
    // Nobody closes it. Held until the component is compiled, so that its bytes are few at a time.
    let _door = doors.registries.acquire().await.ok();
    let artifact = match recipient {
        Some(recipient) => artifacts.fetch_for(recipient, &reference, refresh).await,
        None => artifacts.fetch(&reference, refresh).await,
    };
    let Artifact {
        bytes,
        digest,
        signed_by,
        asked,
        stale,
    } = artifact?;
    let compiled = match broken {
        _ if usable.as_ref() == Some(&digest) => Compiled::Same,
        Some((broken, why)) if broken == digest => Compiled::StillBroken(why),
        Some(_) | None => match loader.compile(bytes).await {
            Ok(plugin) => Compiled::New(plugin),
            Err(why) => Compiled::Failed(why),
        },
    };
    Ok(Arrived {
        digest,
        signed_by,
        compiled,
        asked,
        stale,
    })
}

/// What is in both caches.
async fn known(
    artifacts: &dyn Artifacts,
    loader: &Loader,
    doors: &Doors,
    recipient: Option<&Recipient>,
    reference: &str,
) -> Option<Usable> {
    let _door = doors.caches.acquire().await.ok();
    let known = artifacts.known(recipient, reference).await?;
    let plugin = loader.known(known.component).await?;
    Some(Usable {
        plugin,
        digest: known.digest,
        signed_by: known.signed_by,
    })
}
