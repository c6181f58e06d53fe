//! Compiled code on its way from an entry into the engine, where nobody can change it.

#[cfg(target_os = "linux")]
use std::io::Write as _;
use std::{fs::File, io, os::fd::AsRawFd as _, path::PathBuf};

/// Code that was read, and that stays as it is.
pub(super) enum Code {
    /// In our memory.
    Bytes(Vec<u8>),
    /// In an open file, to be mapped.
    Mapped(File),
}

/// Collects code.
pub(super) struct Writer(Code);

impl Writer {
    /// Begins. Where a process cannot reach its own files by name, code is kept in memory.
    #[cfg(target_os = "linux")]
    pub(super) fn new() -> io::Result<Self> {
        use rustix::fs::{MemfdFlags, memfd_create};

        let file = match memfd_create(c"berth-plugin", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
            Ok(file) => File::from(file),
            Err(error) => {
                tracing::debug!(%error, "no file in memory can be made");
                return Ok(Self(Code::Bytes(Vec::new())));
            }
        };
        let code = if path(&file).exists() {
            Code::Mapped(file)
        } else {
            Code::Bytes(Vec::new())
        };
        Ok(Self(code))
    }

    /// Begins.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Code::Bytes(Vec::new())))
    }

    /// Adds to the end.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Code::Bytes(all) => all.extend_from_slice(bytes),
            Code::Mapped(file) => file.write_all(bytes)?,
        }
        Ok(())
    }

    /// Ends, and seals.
    pub(super) fn finish(self) -> io::Result<Code> {
        #[cfg(target_os = "linux")]
        if let Code::Mapped(file) = &self.0 {
            use rustix::fs::{SealFlags, fcntl_add_seals};

            fcntl_add_seals(
                file,
                SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL,
            )?;
        }
        Ok(self.0)
    }
}

/// Where this process finds a file that it has open, if it can reach its own files by name.
pub(super) fn path(file: &File) -> PathBuf {
    let folder = if cfg!(target_os = "linux") {
        "/proc/self/fd"
    } else {
        "/dev/fd"
    };
    PathBuf::from(format!("{folder}/{}", file.as_raw_fd()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

    use super::*;

    #[test]
    fn what_was_verified_cannot_be_changed_any_more() {
        let mut writer = Writer::new().unwrap();
        writer.write(b"verified").unwrap();
        let Code::Mapped(mut file) = writer.finish().unwrap() else {
            panic!("a file in memory is expected here");
        };
        assert_eq!(std::fs::read(path(&file)).unwrap(), b"verified");
        assert!(file.write_all(b"!").is_err(), "it is sealed against writing");
        assert!(file.set_len(1).is_err(), "it is sealed against shrinking");
        let reopened = std::fs::OpenOptions::new().write(true).open(path(&file));
        assert!(reopened.and_then(|mut again| again.write_all(b"x")).is_err());
    }
}
