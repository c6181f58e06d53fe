//! One fetch, apart from everything else: from a reference, or a file, to a component that can be called.

use std::{io::Read as _, path::Path, sync::Arc, time::Duration};

use berth_runtime::Plugin;
use tokio::sync::Semaphore;

use super::{PAUSES, REMEMBERED, Usable};
use crate::{
    live::folder::{self, Stamp},
    plugins::Loader,
    world::{Artifact, ArtifactFault, Artifacts, Recipient, Refresh},
};

/// So many registries are asked at once, and no more components than this are in memory for it.
const FETCHES: usize = 4;
/// So many files are read and compiled at once. They do not wait for registries.
const FILES: usize = 4;
/// The largest plugin file that is read, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// How long a plugin file must be left alone before it is read: somebody may be writing it.
const SETTLES: Duration = Duration::from_millis(150);

/// Bounds what fetches do at once. What is in the caches does not wait for registries.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    registries: Arc<Semaphore>,
    caches: Arc<Semaphore>,
    files: Arc<Semaphore>,
}

impl Doors {
    pub(super) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            registries: Arc::new(Semaphore::new(FETCHES)),
            caches: Arc::new(Semaphore::new(threads)),
            files: Arc::new(Semaphore::new(FILES)),
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

/// What became of a file.
pub(super) struct FileRead {
    /// When it was read: what has another stamp is read again.
    pub(super) stamp: Option<Stamp>,
    /// Its component, or why there is none.
    pub(super) compiled: Result<Arc<Plugin>, String>,
    /// After which pause it is tried again where there is none.
    pub(super) again: Duration,
}

/// Reads and compiles a file that is `seen` as another than it was `before`.
pub(super) async fn file(
    path: &Path,
    mut seen: std::io::Result<Stamp>,
    before: Option<Stamp>,
    loader: &Loader,
    doors: &Doors,
) -> FileRead {
    // A first look finds what was there before; a later one may find it half written.
    while before.is_some() {
        tokio::time::sleep(SETTLES).await;
        let again = stamp(path).await;
        let rests = matches!((&seen, &again), (Ok(one), Ok(other)) if one == other) || again.is_err();
        seen = again;
        if rests {
            break;
        }
    }
    // Held until it is compiled, so that few are in memory at a time.
    let _door = doors.files.acquire().await.ok();
    let owned = path.to_owned();
    let read = match &seen {
        Ok(_) => folder::apart(move || read(&owned)).await,
        Err(error) => Some(Err(std::io::Error::new(error.kind(), error.to_string()))),
    };
    let compiled = match read {
        Some(Ok(bytes)) => loader.compile(bytes.into()).await,
        Some(Err(error)) => {
            return FileRead {
                stamp: seen.ok(),
                compiled: Err(unreadable(path, &error)),
                again: PAUSES.0,
            };
        }
        None => Err(format!("reading `{}` ended abnormally", path.display())),
    };
    FileRead {
        stamp: seen.ok(),
        compiled,
        again: REMEMBERED,
    }
}

/// Why there is no component where a file cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read `{}`: {error}", path.display())
}

pub(super) async fn stamp(path: &Path) -> std::io::Result<Stamp> {
    let owned = path.to_owned();
    let stamped = folder::apart(move || folder::stamp(&owned)).await;
    stamped.unwrap_or_else(|| Err(std::io::Error::other("it cannot be looked at")))
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("it has more than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
