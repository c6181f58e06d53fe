//! Compiled plugins on disk. Loading one executes it, so each is authenticated as a whole.
//!
//! An entry's name is made of everything that its code depends on: the plugin's digest, the
//! engine's settings, the version of wasmtime and the machine. Its tag covers the name and
//! all bytes, under a key that only hosts have; an entry that was cut, changed or renamed is
//! noticed, logged and replaced. Entries are written aside and linked into place, never
//! overwritten, so that several processes may share a folder. What was used longest ago is removed when the folder
//! grows too large.
//!
//! An entry is opened once; what was verified is what is loaded, whatever happens to its name meanwhile. Under a key of
//! our own, which lies beside the folder, whoever could change an entry could also make one: entries of ours are mapped
//! from the file that was verified, as programs and their libraries are. Under a key that was given, the folder may be
//! shared with others that do not have it: on Linux the code is then copied, while it is hashed, into a file in memory
//! that is sealed, and mapped from there.

mod bound;
mod code;

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rand::RngCore as _;
use wasmtime::{Engine, component::Component};

use self::code::Code;
use crate::{plugin::Digest, settings::CacheSettings};

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be made.
    #[error("the folder `{path}` cannot be made")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key cannot be read or made.
    #[error("the key `{path}` cannot be read or made")]
    Key {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key is too short to protect anything.
    #[error("the key `{path}` has {size} bytes; at least {KEY_SIZE} are needed")]
    ShortKey {
        /// Which.
        path: PathBuf,
        /// How long it is.
        size: usize,
    },
    /// Others can read the key.
    #[error("the key `{path}` can be read by others (mode {mode:o}); make it 0600")]
    OpenKey {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

const KEY_SIZE: usize = 32;
const TAG_SIZE: usize = 32;

const TRAILER_SIZE: usize = MAGIC.len() + TAG_SIZE;

/// How much of an entry is read, hashed and written at once: little enough to stay in the processor's cache.
const CHUNK: usize = 128 << 10;

/// Stands behind the code of every entry, before its tag, and is part of its name, so that a later layout is told apart.
const MAGIC: &[u8; 8] = b"berthc02";

/// A folder of compiled plugins.
pub(crate) struct Cache {
    folder: PathBuf,
    /// How large the folder may grow, in bytes.
    most: u64,
    key: [u8; 32],
    /// Whether others may write to the folder that do not have the key.
    shared: bool,
}

impl Cache {
    /// Opens the folder and the key; makes what is missing.
    pub(crate) fn open(settings: &CacheSettings) -> Result<Self, CacheError> {
        let folder = &settings.folder;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| CacheError::Folder {
                path: folder.clone(),
                source,
            })?;
        let key = match &settings.key {
            Some(given) => read_key(given, 0o007)?,
            None => own_key(folder)?,
        };
        Ok(Self {
            folder: folder.clone(),
            most: settings.size,
            key: blake3::derive_key("berth 2026 compile cache entries", &key),
            shared: settings.key.is_some(),
        })
    }

    /// The compiled form of a plugin, if there is a sound one.
    pub(crate) fn get(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let name = entry_name(engine, digest);
        let path = self.folder.join(&name);
        let code = match File::open(&path).and_then(|file| self.verified(&name, file)) {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin cannot be read; it is compiled again");
                return None;
            }
        };
        let component = code.and_then(|code| fitting(engine, &code));
        if component.is_some() {
            bound::touch(&path);
        } else {
            tracing::warn!(
                path = %path.display(), %digest,
                "a compiled plugin is damaged or was tampered with; it is removed and compiled again"
            );
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "the damaged entry cannot be removed");
            }
        }
        component
    }

    /// Keeps the compiled form of a plugin. Failing to is logged: the plugin works without.
    pub(crate) fn put(&self, engine: &Engine, digest: &Digest, code: wasmtime::Result<impl AsRef<[u8]>>) {
        let name = entry_name(engine, digest);
        let written = code
            .map_err(|error| io::Error::other(format!("{error:#}")))
            .and_then(|code| {
                let code = code.as_ref();
                if (code.len() + TRAILER_SIZE) as u64 > self.most {
                    let told = format!("it has {} bytes, and all may have {}", code.len(), self.most);
                    return Err(io::Error::other(told));
                }
                write_new(&self.folder, &name, &[code, MAGIC, self.tag(&name, code).as_bytes()])
            });
        bound::shrink(&self.folder, self.most, &name);
        if let Err(error) = written {
            tracing::warn!(folder = %self.folder.display(), %error, "a compiled plugin cannot be kept");
        }
    }

    /// The code of an entry; none if it is not sound.
    fn verified(&self, name: &str, entry: File) -> io::Result<Option<Code>> {
        let metadata = entry.metadata()?;
        if metadata.len() < TRAILER_SIZE as u64 {
            return Ok(None);
        }
        let ours = !self.shared
            && metadata.uid() == rustix::process::geteuid().as_raw()
            && metadata.permissions().mode() & 0o022 == 0
            && code::path(&entry).exists();
        if !ours {
            return self.copied(name, &entry, metadata.len());
        }
        let sound = {
            let bytes = mapped(&entry)?;
            let Some((code, trailer)) = bytes.split_last_chunk() else {
                return Ok(None);
            };
            is_tag(trailer, self.hasher(name).update(code))
        };
        Ok(sound.then_some(Code::Mapped(entry)))
    }

    /// A copy of the code of an entry of so many bytes; none if it is not sound.
    fn copied(&self, name: &str, mut entry: &File, size: u64) -> io::Result<Option<Code>> {
        let mut hasher = self.hasher(name);
        let mut writer = code::Writer::new()?;
        let mut code = entry.take(size.saturating_sub(TRAILER_SIZE as u64));
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match code.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            hasher.update(&buffer[..read]);
            writer.write(&buffer[..read])?;
        }
        let mut trailer = [0; TRAILER_SIZE];
        match entry.read_exact(&mut trailer) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if is_tag(&trailer, &hasher) {
            writer.finish().map(Some)
        } else {
            Ok(None)
        }
    }

    fn hasher(&self, name: &str) -> blake3::Hasher {
        // Names have one length, so name and code cannot be shifted against each other.
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes());
        hasher
    }

    fn tag(&self, name: &str, code: &[u8]) -> blake3::Hash {
        self.hasher(name).update(code).finalize()
    }
}

/// Whether a trailer has the tag of what was hashed.
fn is_tag(trailer: &[u8; TRAILER_SIZE], hasher: &blake3::Hasher) -> bool {
    let tag = trailer.strip_prefix(MAGIC).and_then(|tag| tag.try_into().ok());
    // Compared in constant time: the type's own comparison.
    tag.is_some_and(|tag| hasher.finalize() == blake3::Hash::from_bytes(tag))
}

/// The bytes of a file of ours.
#[expect(unsafe_code, reason = "reading 40 MB takes as long as hashing them")]
fn mapped(file: &File) -> io::Result<memmap2::Mmap> {
    // SAFETY: nobody but our user may write to the file, and berth writes entries once, under
    // another name. Whoever cuts one off in place ends this process, as with any program's file.
    unsafe { memmap2::Mmap::map(file) }
}

/// Code that was verified, if it fits this engine.
fn fitting(engine: &Engine, code: &Code) -> Option<Component> {
    match load(engine, code) {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "a compiled plugin does not fit this engine"
            );
            None
        }
    }
}

/// Loads the code that a compiler of ours has just written to us.
pub(crate) fn adopt(engine: &Engine, code: Vec<u8>) -> wasmtime::Result<Component> {
    load(engine, &Code::Bytes(code))
}

#[expect(
    unsafe_code,
    clippy::disallowed_methods,
    reason = "the only way to load compiled code, which was authenticated; see below"
)]
fn load(engine: &Engine, code: &Code) -> wasmtime::Result<Component> {
    // SAFETY: `code` was produced by wasmtime in a berth host, or in the compiler that one started
    // and read from. It carries the tag of a key that only such hosts can read, over these very
    // bytes, unless it came from that compiler just now. Nobody else can change it: it is in our
    // memory, in a sealed file, or in an open one that only our user may write to, which berth
    // never does. wasmtime itself checks its version and settings.
    match code {
        Code::Bytes(bytes) => unsafe { Component::deserialize(engine, bytes) },
        Code::Mapped(file) => unsafe { Component::deserialize_file(engine, code::path(file)) },
    }
}

/// 64 hex digits of all that the compiled code depends on.
fn entry_name(engine: &Engine, digest: &Digest) -> String {
    struct Blake(blake3::Hasher);
    impl Hasher for Blake {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut hasher = Blake(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let mut hasher = hasher.0;
    for part in [
        std::str::from_utf8(MAGIC).unwrap_or_default(),
        digest.as_str(),
        WASMTIME_VERSION,
        std::env::consts::ARCH,
        std::env::consts::OS,
    ] {
        hasher
            .update(&(part.len() as u64).to_le_bytes())
            .update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The version of wasmtime that is pinned for the workspace.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// The key beside the folder, made by the first process that needs it.
fn own_key(folder: &Path) -> Result<Vec<u8>, CacheError> {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".key");
    let path = folder.with_file_name(&name);
    if !path.exists() {
        let mut key = [0; KEY_SIZE];
        rand::rng().fill_bytes(&mut key);
        let parent = folder.parent().unwrap_or(Path::new("."));
        write_new(parent, &name.to_string_lossy(), &[&key]).map_err(|source| CacheError::Key {
            path: path.clone(),
            source,
        })?;
    }
    read_key(&path, 0o077)
}

/// Reads a key that must not have any of the mode bits in `forbidden`.
fn read_key(path: &Path, forbidden: u32) -> Result<Vec<u8>, CacheError> {
    let fail = |source| CacheError::Key {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(fail)?;
    let mode = file.metadata().map_err(fail)?.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(CacheError::OpenKey {
            path: path.to_owned(),
            mode,
        });
    }
    let mut key = Vec::new();
    file.read_to_end(&mut key).map_err(fail)?;
    if key.len() < KEY_SIZE {
        return Err(CacheError::ShortKey {
            path: path.to_owned(),
            size: key.len(),
        });
    }
    Ok(key)
}

/// Writes a file that only we can read, whole or not at all. If it is there already, it stays.
fn write_new(folder: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let aside = folder.join(format!(".{name}.{:016x}", rand::rng().next_u64()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        for part in parts {
            file.write_all(part)?;
        }
        file.sync_all()?;
        match fs::hard_link(&aside, folder.join(name)) {
            // Another process was faster; its entry is as good.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    match fs::remove_file(&aside) {
        Err(error) if written.is_ok() => Err(error),
        Ok(()) | Err(_) => written,
    }
}

#[cfg(test)]
mod tests;
