//! Where plugins come from: the newest usable component of each source, and why there is no newer one.

mod fetch;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use berth_engine::adapter::{Adapter, Plugin as Declared, Source};
use berth_runtime::Plugin;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{Id, JoinError, JoinSet};

use self::fetch::{Arrived, Compiled, Doors, FileRead, Wish};
use super::folder::Stamp;
use crate::{
    driver,
    plugins::{DECLARATIVE, Loader},
    web::chain,
    world::{ArtifactFault, Artifacts, Recipient, Refresh},
};

/// The first and the longest pause between attempts at a registry that gives nothing.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));
/// What a host begins with is confirmed by its registry so soon, so that it is told why nothing newer comes.
const CONFIRMED: Duration = Duration::from_secs(5);
/// However often it is asked for by hand, a registry is asked no sooner than this after the last time.
const CALM: Duration = Duration::from_secs(1);

/// How long a digest or a file that cannot be compiled is not compiled again.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// A component that can be used.
#[derive(Debug, Clone)]
pub(super) struct Usable {
    /// It.
    pub(super) plugin: Arc<Plugin>,
    /// What it is called: the digest of its file, or of its manifest, with the algorithm.
    pub(super) digest: String,
    /// Whose signatures were verified.
    pub(super) signed_by: Vec<String>,
}

/// Why the newest content of a source is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) message: String,
    /// Whether it may pass without anybody doing anything.
    pub(super) passes: bool,
}

/// A digest that cannot be compiled.
#[derive(Debug)]
struct Broken {
    digest: String,
    message: String,
    /// When it is tried again, should it have been the machine's fault.
    until: Timestamp,
}

#[derive(Debug)]
struct Entry {
    source: Source,
    /// Whose own rules and credentials decide; none where the host's do.
    recipient: Option<Recipient>,
    usable: Option<Usable>,
    trouble: Option<Trouble>,
    /// What came last and cannot be compiled.
    broken: Option<Broken>,
    stamp: Option<Stamp>,
    /// When a registry is asked next, or a file is tried again that could not be used.
    due: Timestamp,
    /// Somebody wants the registry to be asked now.
    by_hand: bool,
    /// When it was asked last.
    asked: Option<Timestamp>,
    failures: u32,
    /// The fetch under way. What any other brings is older than what this one will.
    fetching: Option<Id>,
}

/// How a source stands.
#[derive(Debug)]
pub(super) enum State<'a> {
    /// This can be used.
    Usable(&'a Usable),
    /// Its first fetch is under way, or its changed file is compiled.
    Fetching,
    /// There is nothing that can be used.
    Unusable(&'a Trouble),
}

/// What came of a fetch, or of reading a file.
enum Fetched {
    Registry(Result<Arrived, ArtifactFault>),
    File(FileRead),
}

/// A fetch that ended.
pub(super) struct Landed {
    id: Id,
    /// Which source's.
    name: String,
    fetched: Result<Fetched, JoinError>,
}

/// All sources that documents name.
pub(super) struct Sources {
    entries: BTreeMap<String, Entry>,
    artifacts: Option<Arc<dyn Artifacts>>,
    /// How often tags are resolved again.
    every: Duration,
    fetching: JoinSet<Fetched>,
    /// Which fetch is which source's.
    names: HashMap<Id, String>,
    doors: Doors,
}

impl Sources {
    pub(super) fn new(artifacts: Option<Arc<dyn Artifacts>>, every: Duration) -> Self {
        Self {
            entries: BTreeMap::new(),
            artifacts,
            every,
            fetching: JoinSet::new(),
            names: HashMap::new(),
            doors: Doors::new(),
        }
    }

    /// These sources are wanted, and no others.
    pub(super) fn want<'a>(&mut self, wanted: impl Iterator<Item = (&'a Adapter, &'a Declared)>) {
        let mut before = std::mem::take(&mut self.entries);
        for (adapter, plugin) in wanted {
            let recipient = self.recipient(adapter, plugin);
            let name = key(recipient.as_ref(), &plugin.source);
            let entry = before.remove(&name).unwrap_or_else(|| Entry {
                source: plugin.source.clone(),
                recipient,
                usable: None,
                trouble: None,
                broken: None,
                stamp: None,
                due: Timestamp::MIN,
                by_hand: false,
                asked: None,
                failures: 0,
                fetching: None,
            });
            self.entries.entry(name).or_insert(entry);
        }
    }

    /// None: what the host's own rules and credentials give is good for this adapter too.
    fn recipient(&self, adapter: &Adapter, plugin: &Declared) -> Option<Recipient> {
        let artifacts = self.artifacts.as_ref()?;
        let recipient = || Recipient {
            adapter: adapter.name.clone(),
            identity: driver::identity(adapter),
            pull_secrets: plugin.pull_secrets.clone(),
        };
        let from_registry = matches!(plugin.source, Source::Oci(_));
        from_registry.then(recipient).filter(|one| artifacts.judges_apart(one))
    }

    fn entry(&self, adapter: &Adapter, plugin: &Declared) -> Option<&Entry> {
        let recipient = self.recipient(adapter, plugin);
        self.entries.get(&key(recipient.as_ref(), &plugin.source))
    }

    /// How the source of an adapter's plugin stands.
    pub(super) fn state(&self, adapter: &Adapter, plugin: &Declared) -> State<'_> {
        let Some(entry) = self.entry(adapter, plugin) else {
            return State::Fetching;
        };
        match (&entry.usable, &entry.trouble) {
            // What is wanted is not known yet: what is live goes on as it is, with its document.
            _ if entry.fetching.is_some() && matches!(entry.source, Source::File(_)) => State::Fetching,
            // A file that is there and wrong is what is wanted now; a registry that does not
            // answer, or whose tag moved to something bad, leaves what was verified before.
            (Some(usable), None) => State::Usable(usable),
            (Some(usable), Some(_)) if matches!(entry.source, Source::Oci(_)) => State::Usable(usable),
            (_, Some(trouble)) => State::Unusable(trouble),
            (None, None) => State::Fetching,
        }
    }

    /// Why there is nothing newer, if the newest cannot be used.
    pub(super) fn trouble(&self, adapter: &Adapter, plugin: &Declared) -> Option<&Trouble> {
        self.entry(adapter, plugin)?.trouble.as_ref()
    }

    /// Whether a fetch is under way.
    pub(super) fn is_fetching(&self) -> bool {
        !self.fetching.is_empty()
    }

    /// Whether a registry is still to be asked because somebody wants it.
    pub(super) fn is_asked_for(&self) -> bool {
        self.entries.values().any(|entry| entry.by_hand)
    }

    /// Looks at every file, and begins to ask registries where it is time. `all`: somebody wants every registry to be
    /// asked from now on. One that was asked a moment ago is asked a little later: once, for all who want it meanwhile.
    pub(super) async fn look(&mut self, loader: &Loader, now: Timestamp, all: bool) {
        for (name, entry) in &mut self.entries {
            match &entry.source {
                Source::Embedded if entry.usable.is_none() => {
                    let compiled = loader.compile(DECLARATIVE.into()).await;
                    let digest = |plugin: &Plugin| format!("sha256:{}", plugin.digest().as_str());
                    entry.take(compiled.map(|plugin| (digest(&plugin), plugin)), Vec::new());
                }
                Source::Embedded => {}
                Source::File(path) => {
                    if entry.fetching.is_some() {
                        continue;
                    }
                    let path = path.clone();
                    let rests = entry.trouble.is_none() || (entry.due > now && !all);
                    let seen = match fetch::stamp(&path).await {
                        Ok(seen) if entry.stamp == Some(seen) && rests => continue,
                        // Nothing was there, and nothing is.
                        Err(error) if entry.stamp.is_none() => {
                            entry.take(Err(fetch::unreadable(&path, &error)), Vec::new());
                            continue;
                        }
                        seen => seen,
                    };
                    let before = entry.stamp;
                    let (loader, doors) = (loader.clone(), self.doors.clone());
                    let read = async move { Fetched::File(fetch::file(&path, seen, before, &loader, &doors).await) };
                    let begun = self.fetching.spawn(read);
                    entry.fetching = Some(begun.id());
                    self.names.insert(begun.id(), name.clone());
                }
                Source::Oci(reference) => {
                    entry.by_hand |= all;
                    if entry.fetching.is_some() || !entry.is_due(now) {
                        continue;
                    }
                    let by_hand = std::mem::take(&mut entry.by_hand);
                    let Some(artifacts) = self.artifacts.clone() else {
                        entry.trouble = Some(Trouble {
                            message: "this host is set up to load plugins from files only".to_owned(),
                            passes: false,
                        });
                        continue;
                    };
                    let broken = entry.broken.as_ref().filter(|broken| broken.until > now && !by_hand);
                    let wish = Wish {
                        reference: reference.clone(),
                        recipient: entry.recipient.clone(),
                        refresh: if entry.usable.is_none() && !by_hand {
                            Refresh::Known
                        } else {
                            Refresh::Resolve
                        },
                        usable: entry.usable.as_ref().map(|usable| usable.digest.clone()),
                        broken: broken.map(|broken| (broken.digest.clone(), broken.message.clone())),
                    };
                    entry.asked = Some(now);
                    let (loader, doors) = (loader.clone(), self.doors.clone());
                    let begun = self.fetching.spawn(async move {
                        Fetched::Registry(fetch::fetch(artifacts.as_ref(), &loader, &doors, wish).await)
                    });
                    entry.fetching = Some(begun.id());
                    self.names.insert(begun.id(), name.clone());
                }
            }
        }
    }

    /// Waits for the next fetch to end. None: none is under way. May be dropped at any time.
    pub(super) async fn landed(&mut self) -> Option<Landed> {
        let landed = self.fetching.join_next_with_id().await?;
        let id = match &landed {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        Some(Landed {
            id,
            name,
            fetched: landed.map(|(_, fetched)| fetched),
        })
    }

    /// Takes in what was fetched.
    pub(super) fn take_in(&mut self, landed: Landed, now: Timestamp, jitter: f64) {
        let Landed { id, name, fetched } = landed;
        // Nobody may want it any more; or again, and then what a later fetch brings is newer.
        let Some(entry) = self.entries.get_mut(&name).filter(|entry| entry.fetching == Some(id)) else {
            return;
        };
        entry.fetching = None;
        let fetched = match fetched {
            Ok(Fetched::File(FileRead { stamp, compiled, again })) => {
                entry.stamp = stamp;
                entry.due = after(now, again);
                let digest = |plugin: &Plugin| format!("sha256:{}", plugin.digest().as_str());
                entry.take(compiled.map(|plugin| (digest(&plugin), plugin)), Vec::new());
                return;
            }
            Ok(Fetched::Registry(fetched)) => fetched,
            Err(error) => {
                tracing::error!(source = name, %error, "a fetch panicked; this is a defect of berth");
                Err(ArtifactFault {
                    reason: "Aborted".to_owned(),
                    message: "the fetch ended abnormally".to_owned(),
                    retryable: true,
                    retry_after: None,
                })
            }
        };
        let told = entry.trouble.take();
        let mut every = self.every;
        let stale = match fetched {
            Ok(mut arrived) => {
                if !arrived.asked {
                    every = every.min(CONFIRMED);
                }
                let stale = arrived.stale.take();
                // What is known from before is no newer than what can be used already.
                if stale.is_none() || entry.usable.is_none() {
                    entry.arrives(arrived, now);
                }
                stale
            }
            Err(fault) => Some(fault),
        };
        match stale {
            Some(fault) => {
                // What is known from before serves, and it is told why it is not newer.
                let told = entry.trouble.take().or(told);
                entry.fails(&name, fault, told.as_ref(), self.every, now, jitter);
            }
            None => {
                entry.failures = 0;
                entry.due = after(now, spread(every, jitter));
            }
        }
    }
}

impl Entry {
    /// Whether it is time to ask the registry.
    fn is_due(&self, now: Timestamp) -> bool {
        let calm = self.asked.is_none_or(|asked| asked > now || after(asked, CALM) <= now);
        self.due <= now || (self.by_hand && calm)
    }

    /// A component came.
    fn arrives(&mut self, arrived: Arrived, now: Timestamp) {
        let Arrived {
            digest,
            signed_by,
            compiled,
            asked: _,
            stale: _,
        } = arrived;
        match compiled {
            Compiled::Same => {
                if let Some(usable) = &mut self.usable {
                    usable.signed_by = signed_by;
                }
            }
            Compiled::New(plugin) => {
                self.broken = None;
                self.take(Ok((digest, plugin)), signed_by);
            }
            Compiled::Failed(message) => {
                self.broken = Some(Broken {
                    digest,
                    message: message.clone(),
                    until: after(now, REMEMBERED),
                });
                self.take(Err(message), signed_by);
            }
            Compiled::StillBroken(message) => self.take(Err(message), signed_by),
        }
    }

    /// The registry gave nothing. `told` is the trouble that was told before.
    fn fails(
        &mut self,
        name: &str,
        fault: ArtifactFault,
        told: Option<&Trouble>,
        every: Duration,
        now: Timestamp,
        jitter: f64,
    ) {
        let pause = pause(self.failures).min(every.max(PAUSES.0));
        let pause = if fault.retryable { pause } else { every };
        self.failures = self.failures.saturating_add(1);
        // What the registry wishes is obeyed to the letter.
        let wish = fault.retry_after.unwrap_or_default();
        self.due = after(now, spread(pause, jitter).max(wish));
        let trouble = Trouble {
            message: format!("{} ({})", chain(&fault), fault.reason),
            passes: fault.retryable,
        };
        if told != Some(&trouble) {
            let (reason, message) = (&fault.reason, &fault.message);
            tracing::warn!(source = name, reason, message, "a plugin cannot be fetched");
        }
        self.trouble = Some(trouble);
    }

    fn take(&mut self, compiled: Result<(String, Arc<Plugin>), String>, signed_by: Vec<String>) {
        match compiled {
            Ok((digest, plugin)) => {
                self.trouble = None;
                self.usable = Some(Usable {
                    plugin,
                    digest,
                    signed_by,
                });
            }
            Err(message) => self.trouble = Some(Trouble { message, passes: false }),
        }
    }
}

/// What is fetched once: recipients that are not judged apart share it.
fn key(recipient: Option<&Recipient>, source: &Source) -> String {
    let name = name(source);
    match recipient {
        None => name,
        Some(one) if one.pull_secrets.is_empty() => format!("{name} for {}", one.adapter),
        Some(one) => {
            let account = &one.identity.service_account;
            let (namespace, secrets) = (&one.identity.namespace, one.pull_secrets.join(","));
            format!("{name} for {} as {namespace}/{account} with {secrets}", one.adapter)
        }
    }
}

/// A source as a document writes it.
pub(super) fn name(source: &Source) -> String {
    match source {
        Source::Embedded => "embedded".to_owned(),
        Source::File(path) => format!("file:{}", PathBuf::from(path).display()),
        Source::Oci(reference) => format!("oci://{reference}"),
    }
}

fn pause(failures: u32) -> Duration {
    PAUSES
        .0
        .saturating_mul(2_u32.saturating_pow(failures.min(10)))
        .min(PAUSES.1)
}

/// Between 90 % and 110 %, so that many hosts do not ask at once.
fn spread(pause: Duration, jitter: f64) -> Duration {
    pause.mul_f64(0.9 + 0.2 * jitter.clamp(0.0, 1.0))
}

pub(super) fn after(now: Timestamp, pause: Duration) -> Timestamp {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}
