//! What of the host's own file changes while the host runs.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::folder::{self, Fingerprint};
use crate::config::{
    Problem,
    host::{Settings, Shown},
};

/// Reads the configuration again: file, variables and flags, merged as at the start.
pub type Read = Arc<dyn Fn() -> Result<(Settings, Vec<Shown>), Vec<Problem>> + Send + Sync>;

/// The host's configuration, as it runs.
pub struct Configuration {
    /// The file; none where all is told by variables and flags.
    pub file: Option<PathBuf>,
    /// What was in it when it was read; taken before that, so that a change meanwhile is noticed.
    pub seen: Option<Seen>,
    /// Every setting that the host runs with.
    pub shown: Vec<Shown>,
    /// Reads it again.
    pub read: Read,
}

/// What a file contains, to be compared with what it contains later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen(Fingerprint);

impl Seen {
    /// Looks at a file. One that cannot be read is something to compare with as well.
    #[must_use]
    pub fn of(file: &Path) -> Self {
        Self(folder::file(file))
    }
}

/// Keys that change without a restart.
const LIVE: [&str; 8] = [
    "limits.concurrency",
    "limits.plugins.fuel",
    "limits.plugins.memory",
    "limits.plugins.deadline",
    "limits.plugins.hostTime",
    "limits.plugins.output",
    "limits.plugins.logLines",
    "log.level",
];

/// Which keys differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    /// Those that change now.
    pub(super) live: Vec<&'static str>,
    /// Those that need a restart.
    pub(super) restart: Vec<&'static str>,
}

/// Compares values; where they come from does not matter.
pub(super) fn compare(running: &[Shown], written: &[Shown]) -> Differences {
    let mut differences = Differences::default();
    for new in written {
        let same = running.iter().any(|old| old.key == new.key && old.value == new.value);
        if same {
            continue;
        }
        if LIVE.contains(&new.key) {
            differences.live.push(new.key);
        } else {
            differences.restart.push(new.key);
        }
    }
    differences
}

/// What a changed file came to.
pub(super) enum News {
    /// It cannot be used; what runs goes on.
    Refused(Vec<Problem>),
    /// It can. The settings count for the keys that change now.
    Good(Box<Settings>, Differences),
}

/// Watches the file.
pub(super) struct Watched {
    configuration: Configuration,
    seen: Option<Fingerprint>,
}

impl Watched {
    /// Since it was read: starting takes a while, and it may have changed already.
    pub(super) fn new(configuration: Configuration) -> Self {
        let seen = configuration.seen.map(|Seen(fingerprint)| fingerprint);
        Self { configuration, seen }
    }

    /// Reads the file if it changed.
    pub(super) async fn look(&mut self) -> Option<News> {
        let file = self.configuration.file.clone()?;
        let is_first = self.seen.is_none();
        self.seen = Some(folder::changed(self.seen.as_ref(), move || folder::file(&file)).await?);
        Some(match (self.configuration.read)() {
            Ok((settings, shown)) => {
                let differences = compare(&self.configuration.shown, &shown);
                if is_first && differences == Differences::default() {
                    return None;
                }
                News::Good(
                    Box::new(settings),
                    differences.with(&mut self.configuration.shown, &shown),
                )
            }
            Err(problems) => News::Refused(problems),
        })
    }
}

impl Differences {
    /// Notes in `running` what changes now; the rest stays told as long as it differs.
    fn with(self, running: &mut [Shown], written: &[Shown]) -> Self {
        for old in running.iter_mut().filter(|old| self.live.contains(&old.key)) {
            if let Some(new) = written.iter().find(|new| new.key == old.key) {
                old.clone_from(new);
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::config::host::{KEYS, Written, load};

    const FILE: &str = "fleet: {url: 'https://fleet.example.com'}\nadapters: a\n";

    fn shown(more: &str) -> Vec<Shown> {
        let text = format!("{FILE}{more}");
        let file = Some((Path::new("berth.yaml"), text.as_str()));
        load(&Written {
            file,
            ..Written::default()
        })
        .unwrap()
        .1
    }

    #[test]
    fn what_changes_at_once_and_what_needs_a_restart_is_told_by_name() {
        let running = shown("");
        assert_eq!(compare(&running, &shown("# a comment\n")), Differences::default());
        let changed = shown(
            "limits: {concurrency: 3, eventSize: 2MiB, plugins: {memory: 8MiB}}\nlog: {level: debug}\nadmin: {listen: '127.0.0.1:1'}\n",
        );
        assert_eq!(
            compare(&running, &changed),
            Differences {
                live: vec!["limits.concurrency", "limits.plugins.memory", "log.level"],
                restart: vec!["admin.listen", "limits.eventSize"],
            }
        );
    }

    #[test]
    fn every_key_that_changes_at_once_is_a_key() {
        for live in LIVE {
            assert!(KEYS.iter().any(|key| key.path == live), "{live}");
        }
    }

    /// Reads a file as a host that starts does.
    fn started(file: &Path) -> Configuration {
        let read: Read = {
            let file = file.to_owned();
            Arc::new(move || {
                let text = std::fs::read_to_string(&file).unwrap();
                load(&Written {
                    file: Some((&file, &text)),
                    ..Written::default()
                })
                .map_err(|problems| problems.0)
            })
        };
        Configuration {
            file: Some(file.to_owned()),
            seen: Some(Seen::of(file)),
            shown: read().unwrap().1,
            read,
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_while_the_host_starts_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("berth.yaml");
        std::fs::write(&file, FILE).unwrap();
        let configuration = started(&file);
        std::fs::write(&file, format!("{FILE}limits: {{concurrency: 3}}\n")).unwrap();
        let mut watched = Watched::new(configuration);
        let Some(News::Good(settings, differences)) = watched.look().await else {
            unreachable!("it is good")
        };
        assert_eq!(settings.limits.concurrency.get(), 3);
        assert_eq!(differences.live, ["limits.concurrency"]);
        assert!(watched.look().await.is_none(), "it is told once");
    }

    #[tokio::test]
    async fn a_bad_file_is_refused_and_a_good_one_is_compared_with_what_runs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("berth.yaml");
        let write = |more: &str| std::fs::write(&file, format!("{FILE}{more}")).unwrap();
        write("");
        let mut watched = Watched::new(started(&file));
        assert!(watched.look().await.is_none());
        write("limits: {concurrency: none}\n");
        let Some(News::Refused(problems)) = watched.look().await else {
            unreachable!("it is refused")
        };
        assert_eq!(problems[0].path, "limits.concurrency");
        assert!(watched.look().await.is_none(), "it is told once");
        write("limits: {concurrency: 3}\ncache: x\n");
        let Some(News::Good(settings, differences)) = watched.look().await else {
            unreachable!("it is good")
        };
        assert_eq!(settings.limits.concurrency.get(), 3);
        assert_eq!(
            (differences.live, differences.restart),
            (vec!["limits.concurrency"], vec!["cache"])
        );
        write("limits: {concurrency: 3}\ncache: x\n# again\n");
        let Some(News::Good(_, differences)) = watched.look().await else {
            unreachable!("it is good")
        };
        assert_eq!((differences.live, differences.restart), (vec![], vec!["cache"]));
    }
}
