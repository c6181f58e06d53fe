//! Keeps a folder of entries within its bound.
//!
//! What was used longest ago goes first. Several processes may do so at once: each removes the same files, and one that
//! is gone already is as good as removed. Code that runs stays: a file that is mapped outlives its name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// What a process that was killed leaves half-written is removed after so long.
const STALE: Duration = Duration::from_secs(3600);

/// Notes that an entry was used. Where others own it, they note it themselves.
pub(super) fn touch(entry: &Path) {
    if let Ok(file) = File::open(entry) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes entries until all together have at most `most` bytes; never the one called `newest`.
pub(super) fn shrink(folder: &Path, most: u64, newest: &str) {
    let mut entries = Vec::new();
    let mut total: u64 = 0;
    let now = SystemTime::now();
    for (name, path, size, used) in listed(folder) {
        if is_entry(&name) {
            total = total.saturating_add(size);
            if name != newest {
                entries.push((used, size, path));
            }
        } else if name.starts_with('.') && now.duration_since(used).unwrap_or_default() > STALE {
            let _ = fs::remove_file(&path);
        }
    }
    entries.sort();
    for (_, size, path) in entries {
        if total <= most {
            break;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "an entry cannot be removed from the cache, which is full");
            }
            Ok(()) | Err(_) => {
                tracing::debug!(path = %path.display(), "removed from the cache of compiled plugins, which is full");
                total = total.saturating_sub(size);
            }
        }
    }
}

/// Whether a file is called as entries are. Another cache may lie in a folder beside them.
fn is_entry(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn listed(folder: &Path) -> impl Iterator<Item = (String, PathBuf, u64, SystemTime)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let name = entry.file_name().into_string().ok()?;
        Some((name, entry.path(), metadata.len(), metadata.modified().ok()?))
    })
}
