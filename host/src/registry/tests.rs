use std::sync::{Arc, atomic::Ordering};

use super::{
    component::tests::sample,
    layout::pack,
    memory::{Memory, Only},
    remote::{Descriptor, INDEX, MANIFEST},
    signature::{new_key, sign},
    *,
};

mod bad;
mod bombs;
mod checks;
#[cfg(feature = "keyless")]
mod keyless;
mod wire;

/// A registry, and a host that pulls from it.
struct World {
    remote: Arc<Memory>,
    registry: Registry,
    _folder: tempfile::TempDir,
}

fn reference() -> Reference {
    "registry.example.com/partners/lz:1".parse().unwrap()
}

fn trust(keys: &[&PrivateKey], needed: Needed) -> Policy {
    let keys = keys.iter().enumerate().map(|(index, key)| TrustedKey {
        name: format!("key-{index}"),
        key: key.public().clone(),
    });
    Policy::Signers {
        keys: keys.collect(),
        identities: None,
        needed,
    }
}

impl World {
    fn new(policy: Policy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let remote = Arc::new(Memory::default());
        let settings = Settings {
            policy,
            allow: vec!["registry.example.com/partners/*".parse().unwrap()],
            ..Settings::new(folder.path().to_owned())
        };
        let registry = Registry::new(settings, Arc::new(Only(remote.clone()))).unwrap();
        Self {
            remote,
            registry,
            _folder: folder,
        }
    }

    /// Pushes a plugin under the tag `1`.
    async fn push(&self, marker: &str) -> Digest {
        let repository = &reference().repository;
        let packed = push(self.remote.as_ref(), repository, Some("1"), &sample(marker), &|_, _| {}).await;
        packed.unwrap().digest
    }

    async fn sign(&self, digest: &Digest, key: &PrivateKey) {
        sign(self.remote.as_ref(), &reference().repository, digest, key)
            .await
            .unwrap();
    }

    async fn refused(&self) -> &'static str {
        let error = self.registry.fetch(&reference()).await.unwrap_err();
        assert!(!error.to_string().is_empty());
        error.reason()
    }
}

#[tokio::test]
async fn what_was_pushed_is_fetched_byte_by_byte() {
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("one"));
    assert_eq!(fetched.plugin.digest, Digest::of(&sample("one")));
    assert_eq!(fetched.plugin.manifest, digest);
    assert!(matches!(fetched.origin, Origin::Registry));
}

#[tokio::test]
async fn what_is_in_the_cache_is_not_fetched_again() {
    let world = World::new(Policy::Off);
    world.push("one").await;
    world.registry.fetch(&reference()).await.unwrap();
    let sent = world.remote.blobs_sent.load(Ordering::Relaxed);
    let again = world.registry.fetch(&reference()).await.unwrap();
    assert!(matches!(again.origin, Origin::Confirmed));
    assert_eq!(again.plugin.bytes, sample("one"));
    assert_eq!(world.remote.blobs_sent.load(Ordering::Relaxed), sent);
}

#[tokio::test]
async fn a_repository_that_is_not_listed_is_not_asked() {
    let world = World::new(Policy::Off);
    let elsewhere: Reference = "registry.example.com/others/lz:1".parse().unwrap();
    let error = world.registry.fetch(&elsewhere).await.unwrap_err();
    assert_eq!(error.reason(), "NotAllowed");
    assert_eq!(
        world
            .registry
            .cached(&elsewhere, &Policy::Off)
            .await
            .unwrap_err()
            .reason(),
        "NotAllowed"
    );
    assert!(world.remote.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_plugin_that_nobody_signed_is_refused_before_anything_of_it_is_fetched() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    world.push("one").await;
    assert_eq!(world.refused().await, "NoSignature");
    assert_eq!(world.remote.blobs_sent.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_signature_by_a_trusted_key_suffices_and_is_named() {
    let key = new_key();
    let world = World::new(trust(&[&new_key(), &key], Needed::Any));
    let digest = world.push("one").await;
    world.sign(&digest, &key).await;
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.signed_by, ["key-1"]);
}

#[tokio::test]
async fn a_signature_by_another_key_is_refused() {
    let world = World::new(trust(&[&new_key()], Needed::Any));
    let digest = world.push("one").await;
    world.sign(&digest, &new_key()).await;
    assert_eq!(world.refused().await, "WrongKey");
}

#[tokio::test]
async fn the_signature_of_another_artifact_is_refused() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    let other = world.push("other").await;
    world.sign(&other, &key).await;
    let digest = world.push("one").await;
    {
        let mut tags = world.remote.tags.lock().unwrap();
        let signatures = tags[&format!("{}.sig", other.tag())].clone();
        tags.insert(format!("{}.sig", digest.tag()), signatures);
    }
    assert_eq!(world.refused().await, "OtherDigest");
}

#[tokio::test]
async fn all_and_a_minimum_of_keys_count_different_keys() {
    let (one, two) = (new_key(), new_key());
    let two_of = Needed::Minimum(2.try_into().unwrap());
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    world.sign(&digest, &one).await;
    world.sign(&digest, &one).await;
    let reason = async |policy: &Policy| match world.registry.fetch_under(&reference(), policy).await {
        Ok(fetched) => fetched.plugin.signed_by.join(" "),
        Err(error) => error.reason().to_owned(),
    };
    assert_eq!(reason(&trust(&[&one, &two], Needed::All)).await, "TooFewSignatures");
    assert_eq!(reason(&trust(&[&one, &two], two_of)).await, "TooFewSignatures");
    // The same key under two names is one key.
    assert_eq!(reason(&trust(&[&one, &one], two_of)).await, "UnfulfillablePolicy");
    assert_eq!(reason(&trust(&[&one, &one], Needed::All)).await, "key-0");
    assert_eq!(reason(&trust(&[], Needed::All)).await, "UnfulfillablePolicy");
    world.sign(&digest, &two).await;
    assert_eq!(reason(&trust(&[&one, &two], Needed::All)).await, "key-0 key-1");
    assert_eq!(reason(&trust(&[&one, &two, &new_key()], two_of)).await, "key-0 key-1");
    assert_eq!(
        reason(&trust(&[&one, &two, &new_key()], Needed::All)).await,
        "TooFewSignatures"
    );
}

#[tokio::test]
async fn signing_twice_with_a_key_adds_nothing() {
    let key = new_key();
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    world.sign(&digest, &key).await;
    let before = world.remote.tags.lock().unwrap().clone();
    world.sign(&digest, &key).await;
    assert_eq!(*world.remote.tags.lock().unwrap(), before);
}

#[tokio::test]
async fn a_tag_that_no_longer_points_to_the_pinned_digest_is_refused() {
    let world = World::new(Policy::Off);
    let old = world.push("old").await;
    let pinned = Reference {
        digest: Some(old.clone()),
        ..reference()
    };
    assert!(world.registry.fetch(&pinned).await.is_ok());
    world.push("new").await;
    assert_eq!(world.registry.fetch(&pinned).await.unwrap_err().reason(), "MovedTag");
    // By the digest alone it is still there.
    let fetched = world.registry.fetch(&reference().pinned(old)).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("old"));
}

#[tokio::test]
async fn a_tag_that_moves_while_pulling_changes_nothing() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    let digest = world.push("signed").await;
    world.sign(&digest, &key).await;
    let evil = pack(&sample("evil")).unwrap();
    let remote = Arc::downgrade(&world.remote);
    world.remote.lies(move |call| {
        let remote = remote.upgrade()?;
        if call == "referrers" {
            let evil = remote.put("1", MANIFEST, &evil.manifest);
            assert_ne!(evil, Digest::of(b""));
        }
        None
    });
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("signed"));
    assert_eq!(world.remote.calls("resolve"), 1);
}

#[tokio::test]
async fn what_was_fetched_once_serves_while_the_registry_is_down() {
    let key = new_key();
    let policy = trust(&[&key], Needed::Any);
    let world = World::new(policy.clone());
    let digest = world.push("one").await;
    world.sign(&digest, &key).await;
    world.registry.fetch(&reference()).await.unwrap();
    // It has not taken over yet.
    assert!(world.registry.cached(&reference(), &policy).await.unwrap().is_none());
    world.registry.took_over(&reference(), &digest).await;
    world.remote.is_down();
    assert_eq!(world.refused().await, "Unreachable");
    let fetched = world.registry.fetch_or_cached(&reference(), &policy).await.unwrap();
    assert!(matches!(fetched.origin, Origin::Outage(_)));
    assert_eq!(fetched.plugin.bytes, sample("one"));
    assert_eq!(fetched.plugin.signed_by, ["key-0"]);
    let known = world.registry.known(&reference(), &policy).unwrap().unwrap();
    assert_eq!((known.manifest, known.component), (digest, Digest::of(&sample("one"))));
}

#[tokio::test]
async fn a_registry_that_does_not_let_us_in_is_no_outage_and_what_it_gave_before_serves() {
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    world.registry.fetch(&reference()).await.unwrap();
    world.registry.took_over(&reference(), &digest).await;
    world.remote.lies(|_| {
        Some(Fault::Unauthorized {
            registry: "registry.example.com".to_owned(),
        })
    });
    let error = world.registry.fetch(&reference()).await.unwrap_err();
    assert!(error.is_denial() && !error.is_outage());
    let fetched = world.registry.fetch_or_cached(&reference(), &Policy::Off).await;
    let Origin::Denied(error) = fetched.unwrap().origin else {
        panic!("it is not told that it was denied");
    };
    assert_eq!(error.reason(), "Unauthorized");
}

#[tokio::test]
async fn what_was_fetched_and_did_not_take_over_leaves_what_did() {
    let world = World::new(Policy::Off);
    let good = world.push("good").await;
    world.registry.fetch(&reference()).await.unwrap();
    world.registry.took_over(&reference(), &good).await;
    let bad = world.push("bad").await;
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.manifest, bad);
    world.remote.is_down();
    let fetched = world
        .registry
        .fetch_or_cached(&reference(), &Policy::Off)
        .await
        .unwrap();
    assert_eq!((fetched.plugin.manifest, fetched.plugin.bytes), (good, sample("good")));
}

#[tokio::test]
async fn what_was_fetched_with_credentials_of_ones_own_is_in_the_cache_for_nobody_else() {
    let world = World::new(Policy::Off);
    let digest = world.push("private").await;
    let pinned = reference().pinned(digest.clone());
    let held_by = |holder| world.registry.held_by(holder, Arc::new(Only(world.remote.clone())));
    let (mine, yours, hosts) = (held_by("mine"), held_by("yours"), &world.registry);
    mine.fetch(&reference()).await.unwrap();
    mine.took_over(&reference(), &digest).await;
    let has = async |registry: &Registry, reference: &Reference| {
        let cached = registry.cached(reference, &Policy::Off).await.unwrap().is_some();
        assert_eq!(registry.known(reference, &Policy::Off).unwrap().is_some(), cached);
        cached
    };
    world.remote.is_down();
    for reference in [reference(), pinned.clone()] {
        assert!(has(&mine, &reference).await);
        for other in [&yours, hosts] {
            assert!(!has(other, &reference).await);
            let refused = other.fetch_or_cached(&reference, &Policy::Off).await.unwrap_err();
            assert_eq!(refused.reason(), "Unreachable");
        }
    }

    // Each has to show that they may have it; who could before still can.
    world.remote.is_up();
    let fetched = yours.fetch(&pinned).await.unwrap();
    assert!(matches!(fetched.origin, Origin::Registry));
    assert!(has(&mine, &pinned).await && has(&yours, &pinned).await && !has(hosts, &pinned).await);
    hosts.fetch(&reference()).await.unwrap();
    yours.fetch(&reference()).await.unwrap();
    assert!(has(hosts, &pinned).await && has(&held_by("anybody"), &pinned).await);
}

#[tokio::test]
async fn the_cache_obeys_the_policy_of_now() {
    let key = new_key();
    let world = World::new(Policy::Off);
    let digest = world.push("unsigned").await;
    world.registry.fetch(&reference()).await.unwrap();
    world.registry.took_over(&reference(), &digest).await;
    world.remote.is_down();
    let policy = trust(&[&key], Needed::Any);
    let refused = world.registry.cached(&reference(), &policy).await.unwrap_err();
    assert_eq!(refused.reason(), "NoSignature");
    assert_eq!(
        world.registry.known(&reference(), &policy).unwrap_err().reason(),
        "NoSignature"
    );
    let refused = world.registry.fetch_or_cached(&reference(), &policy).await.unwrap_err();
    assert_eq!(refused.reason(), "Unreachable");
}

#[tokio::test]
async fn a_signature_that_comes_later_is_found() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    let digest = world.push("one").await;
    let fetched = world.registry.fetch_under(&reference(), &Policy::Off).await.unwrap();
    assert!(fetched.plugin.signed_by.is_empty());
    assert_eq!(world.refused().await, "NoSignature");
    world.sign(&digest, &key).await;
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.signed_by, ["key-0"]);
}

#[tokio::test]
async fn a_refusal_is_no_outage_and_the_cache_does_not_hide_it() {
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    world.registry.fetch(&reference()).await.unwrap();
    world.registry.took_over(&reference(), &digest).await;
    world.remote.put("1", INDEX, br#"{"schemaVersion":2,"manifests":[]}"#);
    let refused = world.registry.fetch_or_cached(&reference(), &Policy::Off).await;
    assert_eq!(refused.unwrap_err().reason(), "Index");
}

#[tokio::test]
async fn a_damaged_cache_is_filled_again() {
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    world.registry.fetch(&reference()).await.unwrap();
    world.registry.took_over(&reference(), &digest).await;
    let blobs = world.registry.settings().cache_dir.join("plugins-v1/blobs");
    let file = blobs.join(Digest::of(&sample("one")).hex());
    std::fs::write(&file, b"changed").unwrap();
    assert!(
        world
            .registry
            .cached(&reference(), &Policy::Off)
            .await
            .unwrap()
            .is_none()
    );
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("one"));
    assert_eq!(std::fs::read(&file).unwrap(), sample("one"));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_ends_at_the_deadline() {
    let world = World::new(Policy::Off);
    world.push("one").await;
    *world.remote.hangs.lock().unwrap() = true;
    assert_eq!(world.refused().await, "TimedOut");
}

#[tokio::test]
async fn signatures_that_were_found_suffice_where_others_cannot_be_looked_for() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    let digest = world.push("one").await;
    let down = |call: &str| {
        (call == "referrers").then(|| Fault::Unreachable {
            registry: "r".to_owned(),
            source: "down".into(),
        })
    };
    world.remote.lies(down);
    assert_eq!(world.refused().await, "Unreachable", "there may be one");
    world.remote.is_up();
    world.sign(&digest, &key).await;
    world.remote.lies(down);
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.signed_by, ["key-0"]);
}

/// Puts a manifest among what refers to `digest`; `kind` and `statement` are what the list says of it.
fn refer(world: &World, digest: &Digest, manifest: &[u8], kind: Option<&str>, statement: Option<&str>) {
    let statement = statement.map(|one| ("dev.sigstore.bundle.predicateType".to_owned(), one.to_owned()));
    let descriptor = Descriptor {
        artifact_type: kind.map(str::to_owned),
        annotations: statement.into_iter().collect(),
        ..layout::describe(MANIFEST, manifest)
    };
    let mut referrers = world.remote.referrers.lock().unwrap();
    referrers.entry(digest.clone()).or_default().push(descriptor);
}

#[tokio::test]
async fn what_is_listed_as_a_signature_is_looked_at_before_hundreds_of_others() {
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
    let key = new_key();
    // What the list says of the signature, and of all that is listed before it.
    for (kind, statement, others, other) in [
        (Some(BUNDLE), Some(SIGNED), Some(BUNDLE), None),
        (Some(BUNDLE), Some(SIGNED), None, None),
        (Some(BUNDLE), None, Some("application/vnd.example"), None),
        (Some(BUNDLE), None, Some(BUNDLE), Some("https://slsa.dev/provenance/v1")),
        (None, None, Some(BUNDLE), Some("https://slsa.dev/provenance/v1")),
    ] {
        let world = World::new(trust(&[&key], Needed::Any));
        let digest = world.push("one").await;
        for number in 0..300 {
            refer(&world, &digest, format!("{number}").as_bytes(), others, other);
        }
        let repository = &reference().repository;
        let signed = signature::sign_as_bundle(world.remote.as_ref(), repository, &digest, &key);
        let signed = signed.await.unwrap();
        let manifest = world.remote.manifests.lock().unwrap()[&signed].1.clone();
        refer(&world, &digest, &manifest, kind, statement);
        world.remote.calls.lock().unwrap().clear();
        let fetched = world.registry.fetch(&reference()).await.unwrap();
        assert_eq!(fetched.plugin.signed_by, ["key-0"]);
        assert!(
            world.remote.calls("manifest") < 40,
            "{}",
            world.remote.calls("manifest")
        );
    }
}

#[tokio::test]
async fn no_more_than_some_layers_of_signatures_are_asked_for() {
    let world = World::new(trust(&[&new_key()], Needed::Any));
    let digest = world.push("one").await;
    let layers: Vec<Descriptor> = (0..1000)
        .map(|number: i32| {
            layout::describe(
                "application/vnd.dev.cosign.simplesigning.v1+json",
                &number.to_be_bytes(),
            )
        })
        .collect();
    // Under the tag, and in as many manifests as there may be.
    for count in 0..64 {
        let manifest = serde_json::json!({"schemaVersion": 2, "count": count,
            "config": layout::describe("c", b"{}"), "layers": layers});
        let manifest = manifest.to_string().into_bytes();
        let name = match count {
            0 => format!("{}.sig", digest.tag()),
            _ => Digest::of(&manifest).to_string(),
        };
        world.remote.put(&name, MANIFEST, &manifest);
        refer(&world, &digest, &manifest, None, None);
    }
    assert_eq!(world.refused().await, "MalformedSignature");
    assert!(world.remote.calls("blob") <= 256, "{}", world.remote.calls("blob"));
}

#[tokio::test]
async fn a_signature_is_not_added_where_it_would_hide_all_others() {
    let world = World::new(Policy::Off);
    let digest = world.push("one").await;
    let mut last = Ok(String::new());
    for signed in 0..51 {
        assert!(last.is_ok(), "{signed}");
        let repository = &reference().repository;
        last = sign(world.remote.as_ref(), repository, &digest, &new_key()).await;
    }
    assert!(matches!(last, Err(signature::SignError::Full(_))), "{last:?}");
    let tags = world.remote.tags.lock().unwrap().clone();
    let kept = world.remote.manifests.lock().unwrap()[&tags[&format!("{}.sig", digest.tag())]]
        .1
        .clone();
    let kept: layout::Written = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept.layers.len(), 50);
}

/// A mirror in front of a registry.
struct Mirrored {
    mirror: Arc<Memory>,
    origin: Arc<Memory>,
}

/// What the mirror has, else what the registry has.
macro_rules! first {
    ($self:ident, $call:ident ($($argument:expr),*)) => {
        match $self.mirror.$call($($argument),*).await {
            Err(Fault::NotFound { .. }) => $self.origin.$call($($argument),*).await,
            answer => answer,
        }
    };
}

#[async_trait::async_trait]
impl Remote for Mirrored {
    async fn resolve(&self, reference: &Reference) -> Result<Digest, Fault> {
        first!(self, resolve(reference))
    }

    async fn manifest(&self, repository: &Repository, at: &At, max: u64) -> Result<remote::Manifest, Fault> {
        first!(self, manifest(repository, at, max))
    }

    async fn blob(&self, repository: &Repository, digest: &Digest, max: u64) -> Result<Vec<u8>, Fault> {
        first!(self, blob(repository, digest, max))
    }

    async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Vec<Descriptor>, Fault> {
        first!(self, referrers(repository, digest))
    }

    fn behind_mirrors(&self, _: &Repository) -> Option<Arc<dyn Remote>> {
        let origin: Arc<dyn Remote> = self.origin.clone();
        Some(origin)
    }

    async fn push_blob(&self, repository: &Repository, bytes: &[u8]) -> Result<Digest, Fault> {
        self.origin.push_blob(repository, bytes).await
    }

    async fn push_manifest(&self, repository: &Repository, at: &At, kind: &str, bytes: &[u8]) -> Result<Digest, Fault> {
        self.origin.push_manifest(repository, at, kind, bytes).await
    }
}

impl Connect for Mirrored {
    fn remote(&self, _: &str) -> Result<Arc<dyn Remote>, Fault> {
        Ok(Arc::new(Self {
            mirror: Arc::clone(&self.mirror),
            origin: Arc::clone(&self.origin),
        }))
    }
}

/// A registry behind a mirror that has the same plugin and its first signature.
async fn behind_a_mirror(key: &PrivateKey) -> (World, Arc<Memory>, Digest) {
    let mut world = World::new(trust(&[key], Needed::Any));
    let digest = world.push("one").await;
    world.sign(&digest, &new_key()).await;
    let mirror = Arc::new(Memory::default());
    let (origin, copy) = (&world.remote, &mirror);
    copy.tags.lock().unwrap().clone_from(&origin.tags.lock().unwrap());
    copy.manifests
        .lock()
        .unwrap()
        .clone_from(&origin.manifests.lock().unwrap());
    copy.blobs.lock().unwrap().clone_from(&origin.blobs.lock().unwrap());
    let connect = Mirrored {
        mirror: Arc::clone(&mirror),
        origin: Arc::clone(origin),
    };
    world.registry = Registry::new(world.registry.settings().clone(), Arc::new(connect)).unwrap();
    (world, mirror, digest)
}

#[tokio::test]
async fn the_registry_itself_is_asked_where_what_its_mirror_has_is_refused() {
    let key = new_key();
    // The mirror has the plugin, and none of the signatures that count.
    let (world, mirror, digest) = behind_a_mirror(&key).await;
    assert_eq!(world.refused().await, "WrongKey");
    let both = Mirrored {
        mirror,
        origin: Arc::clone(&world.remote),
    };
    let policy = trust(&[&key], Needed::Any);
    let refused = verify(&both, &reference(), &policy).await.unwrap_err();
    assert_eq!(refused.reason(), "WrongKey");
    world.sign(&digest, &key).await;
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    let signed = vec!["key-0".to_owned()];
    assert_eq!(
        (fetched.plugin.manifest, fetched.plugin.signed_by),
        (digest.clone(), signed.clone())
    );
    // Without the plugin itself, too.
    let verified = verify(&both, &reference(), &policy).await.unwrap();
    assert_eq!(verified, (digest, signed));

    // The mirror's tag points to something that nobody has, to something that nobody signed, or to no plugin.
    let nowhere = |mirror: &Memory| {
        mirror
            .tags
            .lock()
            .unwrap()
            .insert("1".to_owned(), Digest::of(b"nowhere"));
    };
    let other = |mirror: &Memory| {
        let packed = pack(&sample("other")).unwrap();
        mirror.put_blob(&packed.config);
        mirror.put_blob(&sample("other"));
        mirror.put("1", MANIFEST, &packed.manifest);
    };
    let garbage = |mirror: &Memory| drop(mirror.put("1", MANIFEST, b"{}"));
    let changes: [&dyn Fn(&Memory); 3] = [&nowhere, &other, &garbage];
    for change in changes {
        let (world, mirror, digest) = behind_a_mirror(&key).await;
        world.sign(&digest, &key).await;
        change(&mirror);
        let fetched = world.registry.fetch(&reference()).await.unwrap();
        assert_eq!(fetched.plugin.manifest, digest);
        let pinned = Reference {
            digest: Some(digest.clone()),
            ..reference()
        };
        assert_eq!(world.registry.fetch(&pinned).await.unwrap().plugin.manifest, digest);
    }
}

#[tokio::test]
async fn an_outage_of_the_registry_behind_a_mirror_is_told_as_one_where_the_mirror_does_not_suffice() {
    let key = new_key();
    let (world, mirror, _) = behind_a_mirror(&key).await;
    world.remote.is_down();
    assert_eq!(world.refused().await, "Unreachable");
    assert!(mirror.calls("resolve") > 0);
}

#[tokio::test]
async fn a_signature_is_added_to_those_of_the_registry_and_not_to_those_of_its_mirror() {
    let (world, mirror, digest) = behind_a_mirror(&new_key()).await;
    world.sign(&digest, &new_key()).await;
    let repository = &reference().repository;
    let both = Mirrored {
        mirror,
        origin: Arc::clone(&world.remote),
    };
    sign(&both, repository, &digest, &new_key()).await.unwrap();
    let found = signature::find(world.remote.as_ref(), repository, &digest).await;
    let kept: layout::Written = serde_json::from_slice(&found.attachments[0].manifest).unwrap();
    assert_eq!(kept.layers.len(), 3);
}

#[tokio::test]
async fn many_referrers_are_not_all_read() {
    let key = new_key();
    let world = World::new(trust(&[&key], Needed::Any));
    let digest = world.push("one").await;
    let many: Vec<_> = (0..100)
        .map(|number: i32| Descriptor {
            digest: Digest::of(&number.to_be_bytes()),
            ..layout::describe(MANIFEST, b"")
        })
        .collect();
    world.remote.referrers.lock().unwrap().insert(digest, many);
    assert_eq!(world.refused().await, "NoSignature");
    assert!(
        world.remote.calls("manifest") < 40,
        "{}",
        world.remote.calls("manifest")
    );
}
