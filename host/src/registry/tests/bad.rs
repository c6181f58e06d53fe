//! Artifacts that no plugin is: one for each check, and every check is needed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{bombs, checks::check, *};
use crate::registry::{
    check::Check,
    component::tests::with_too_many_imports,
    layout::{CONFIG, LAYER, describe},
};

/// No artifact takes longer to refuse, on whatever machine.
const LONGEST: Duration = Duration::from_secs(20);

/// One artifact: which check refuses it, and how it deviates from a good one.
struct Bad {
    check: Check,
    name: &'static str,
    make: fn(&mut Artifact),
}

/// A good artifact, in parts that can be made bad.
struct Artifact {
    media_type: String,
    manifest: Value,
    config: Vec<u8>,
    layer: Vec<u8>,
    /// Instead of `manifest`.
    raw: Option<Vec<u8>>,
    /// What the registry sends for a digest, instead of what has it.
    sends: Vec<(Digest, Vec<u8>)>,
    /// What it sends for the manifest's digest.
    sends_manifest: Option<Vec<u8>>,
}

impl Artifact {
    fn good() -> Self {
        let layer = sample("good");
        let packed = pack(&layer).unwrap();
        Self {
            media_type: MANIFEST.to_owned(),
            manifest: serde_json::from_slice(&packed.manifest).unwrap(),
            config: packed.config,
            layer,
            raw: None,
            sends: Vec::new(),
            sends_manifest: None,
        }
    }

    /// Replaces the layer, and what is said of it, so that only the layer itself is bad.
    fn layer(&mut self, bytes: Vec<u8>) {
        self.manifest["layers"][0] = json!(describe(LAYER, &bytes));
        let digest = Digest::of(&bytes);
        self.layer = bytes;
        self.config(|config| config["layerDigests"] = json!([digest]));
    }

    /// Changes the config, and what is said of it.
    fn config(&mut self, change: impl FnOnce(&mut Value)) {
        let mut config = serde_json::from_slice(&self.config).unwrap();
        change(&mut config);
        self.raw_config(config.to_string().into_bytes());
    }

    fn raw_config(&mut self, config: Vec<u8>) {
        self.manifest["config"] = json!(describe(CONFIG, &config));
        self.config = config;
    }

    /// Has the registry send other bytes for the layer or the config.
    fn sends(&mut self, part: &str, bytes: Vec<u8>) {
        let digest = self.manifest.pointer(part).unwrap()["digest"].as_str().unwrap();
        self.sends.push((digest.parse().unwrap(), bytes));
    }

    fn put(self, remote: &Memory) {
        remote.put_blob(&self.config);
        remote.put_blob(&self.layer);
        for (digest, bytes) in self.sends {
            remote.blobs.lock().unwrap().insert(digest, bytes);
        }
        let manifest = self.raw.unwrap_or_else(|| self.manifest.to_string().into_bytes());
        let digest = remote.put("1", &self.media_type, &manifest);
        if let Some(other) = self.sends_manifest {
            let other = (self.media_type, other);
            remote.manifests.lock().unwrap().insert(digest, other);
        }
    }
}

const fn bad(check: Check, name: &'static str, make: fn(&mut Artifact)) -> Bad {
    Bad { check, name, make }
}

/// In the order of the checks.
const BAD: &[Bad] = &[
    // The manifest.
    bad(Check::PulledDigest, "another manifest than the one asked for", |a| {
        a.sends_manifest = Some(pack(&sample("evil")).unwrap().manifest);
    }),
    bad(Check::ManifestJson, "a page for a manifest", |a| {
        a.raw = Some(b"<html>".to_vec());
    }),
    bad(Check::ManifestSchema, "a manifest of schema 1", |a| {
        a.manifest["schemaVersion"] = json!(1);
    }),
    bad(
        Check::ManifestTypeAgrees,
        "a manifest that is called otherwise than it calls itself",
        |a| a.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned(),
    ),
    bad(Check::ManifestNoIndex, "an index that calls itself a manifest", |a| {
        a.manifest["manifests"] = json!([]);
    }),
    bad(Check::ManifestType, "an image of Docker", |a| {
        a.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        a.manifest["mediaType"] = json!(a.media_type);
    }),
    // What the manifest names.
    bad(Check::ConfigNamed, "a manifest without a config", |a| {
        a.manifest.as_object_mut().unwrap().remove("config");
    }),
    bad(Check::PartType, "a layer of no type", |a| {
        a.manifest["layers"][0].as_object_mut().unwrap().remove("mediaType");
    }),
    bad(Check::PartDigestKind, "a digest of another algorithm", |a| {
        a.manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
    }),
    bad(Check::PartDigest, "a digest that climbs out of its folder", |a| {
        a.manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
    }),
    bad(Check::PartSize, "a size that is no whole number", |a| {
        a.manifest["layers"][0]["size"] = json!(1.5);
    }),
    bad(Check::Annotations, "an annotation that is no text", |a| {
        a.manifest["annotations"]["org.opencontainers.image.version"] = json!({"major": 1});
    }),
    bad(Check::ConfigType, "a config of a Helm chart", |a| {
        a.manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    }),
    bad(Check::ConfigSizePossible, "a config without bytes", |a| {
        a.manifest["config"]["size"] = json!(0);
    }),
    bad(
        Check::ConfigSizeBound,
        "a config that says it is larger than any config",
        |a| a.manifest["config"]["size"] = json!(1 << 30),
    ),
    bad(Check::LayerNamed, "no layer", |a| a.manifest["layers"] = json!([])),
    bad(Check::LayerAlone, "two layers", |a| {
        let layer = a.manifest["layers"][0].clone();
        a.manifest["layers"] = json!([layer, layer]);
    }),
    bad(Check::LayerTypeNotPacked, "a compressed layer of an image", |a| {
        a.manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    }),
    bad(
        Check::LayerTypeNotNative,
        "a layer that calls itself precompiled",
        |a| {
            a.manifest["layers"][0]["mediaType"] = json!("application/vnd.wasmtime.cwasm.v1");
        },
    ),
    bad(
        Check::LayerTypeWithConfig,
        "a component with a config that says nothing of it",
        |a| a.manifest["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json"),
    ),
    bad(Check::LayerType, "a layer of an image", |a| {
        a.manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    }),
    bad(Check::LayerSizePossible, "a layer of negative size", |a| {
        a.manifest["layers"][0]["size"] = json!(-1);
    }),
    bad(
        Check::LayerSizeBound,
        "a layer that says it is larger than allowed",
        |a| a.manifest["layers"][0]["size"] = json!(i64::MAX),
    ),
    // The config.
    bad(Check::ConfigSize, "a config shorter than named", |a| {
        a.manifest["config"]["size"] = json!(a.config.len() + 1);
    }),
    bad(Check::ConfigDigest, "a config of other bytes than named", |a| {
        let mut other = a.config.clone();
        other[0] = b' ';
        a.sends("/config", other);
    }),
    bad(Check::ConfigJson, "a config that is no JSON", |a| {
        a.raw_config(b"no JSON".to_vec());
    }),
    bad(Check::ConfigArchitecture, "a config for a processor", |a| {
        a.config(|config| config["architecture"] = json!("amd64"));
    }),
    bad(Check::ConfigSystem, "a config for Linux", |a| {
        a.config(|config| config["os"] = json!("linux"));
    }),
    bad(Check::ConfigLayers, "a config that lists another layer", |a| {
        a.config(|config| config["layerDigests"] = json!([Digest::of(b"another")]));
    }),
    bad(
        Check::ConfigComponent,
        "a config that does not describe the component",
        |a| a.config(|config| config["component"] = Value::Null),
    ),
    // The layer.
    bad(Check::LayerSize, "a layer cut short", |a| {
        let short = a.layer[..a.layer.len() - 1].to_vec();
        a.sends("/layers/0", short);
    }),
    bad(Check::LayerDigest, "a layer that was tampered with", |a| {
        let mut other = a.layer.clone();
        *other.last_mut().unwrap() ^= 1;
        a.sends("/layers/0", other);
    }),
    bad(
        Check::NoNativeCode,
        "a file of native code under the type of a component",
        |a| a.layer(b"\x7fELF\x02\x01\x01\0precompiled".to_vec()),
    ),
    bad(Check::NotPacked, "a gzip bomb under the type of a component", |a| {
        a.layer(bombs::SMALL.clone());
    }),
    bad(Check::WebAssembly, "a page that a proxy made", |a| {
        a.layer(b"<html>sign in</html>".to_vec());
    }),
    bad(Check::NoCoreModule, "a core module", |a| {
        a.layer(b"\0asm\x01\0\0\0".to_vec());
    }),
    bad(Check::WholeComponent, "half a component", |a| {
        a.layer(a.layer[..a.layer.len() - 3].to_vec());
    }),
    bad(
        Check::FewNames,
        "a component with more imports than anybody needs",
        |a| a.layer(with_too_many_imports()),
    ),
    bad(
        Check::DeclaredImports,
        "a component that imports more than declared",
        |a| a.config(|config| config["component"]["imports"] = json!([])),
    ),
    bad(
        Check::DeclaredExports,
        "a component that exports other than declared",
        |a| a.config(|config| config["component"]["exports"] = json!(["hyperfleet:adapter/status@0.1.0"])),
    ),
];

/// The checks that have a case here.
pub(super) fn checks() -> impl Iterator<Item = Check> {
    BAD.iter().map(|bad| bad.check)
}

/// What comes of pulling it: who refused, and in which words; and whether anything of it was kept.
async fn pulled(bad: &Bad) -> (Option<Check>, String, bool) {
    let world = World::new(Policy::Off);
    let mut artifact = Artifact::good();
    (bad.make)(&mut artifact);
    artifact.put(&world.remote);
    let began = Instant::now();
    let (by, told) = match world.registry.fetch(&reference()).await {
        Ok(_) => (None, "accepted".to_owned()),
        Err(error) => (check(&error), chain(&error)),
    };
    assert!(began.elapsed() < LONGEST, "{}: {:?}", bad.name, began.elapsed());
    world.remote.is_up();
    let digest = world.remote.tags.lock().unwrap().get("1").cloned();
    // By its digest: a tag is remembered only for what took over.
    let pinned = reference().pinned(digest.unwrap());
    let kept = world.registry.cached(&pinned, &Policy::Off).await;
    (by, told, kept.is_ok_and(|kept| kept.is_some()))
}

#[tokio::test]
async fn every_bad_artifact_is_refused_by_its_own_check_and_nothing_of_it_is_kept() {
    all_are_refused().await;
}

/// A layer of these bytes is refused without a look behind the first ones.
pub(super) async fn is_refused_by_its_first_bytes(bytes: &[u8]) {
    let world = World::new(Policy::Off);
    let mut artifact = Artifact::good();
    artifact.layer(bytes.to_vec());
    artifact.put(&world.remote);
    let error = world.registry.fetch(&reference()).await.unwrap_err();
    assert_eq!(check(&error), Some(Check::NotPacked), "{error:?}");
}

pub(super) async fn all_are_refused() {
    let mut wrong = Vec::new();
    for bad in BAD {
        let (by, told, kept) = pulled(bad).await;
        if by != Some(bad.check) || kept || told.len() > 1000 {
            wrong.push(format!(
                "{}: by {by:?}, not {:?}; kept: {kept}; {told}",
                bad.name, bad.check
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn every_check_is_needed_by_one_artifact_and_only_that_one_fares_otherwise_without_it() {
    let mut with = Vec::new();
    for bad in BAD {
        with.push(pulled(bad).await.1);
    }
    let mut wrong = Vec::new();
    for removed in checks() {
        let _without = removed.removed();
        for (bad, with) in BAD.iter().zip(&with) {
            let without = pulled(bad).await.1;
            if (*with != without) != (removed == bad.check) {
                wrong.push(format!("{} without {removed:?}: {without}", bad.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_no_json_of_a_manifest_is_refused_however_it_is_none() {
    let good = Artifact::good().manifest.to_string().into_bytes();
    let nested = format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(100_000));
    for raw in [
        Vec::new(),
        good[..good.len() / 2].to_vec(),
        nested.into_bytes(),
        vec![0xff],
    ] {
        let world = World::new(Policy::Off);
        let artifact = Artifact {
            raw: Some(raw),
            ..Artifact::good()
        };
        artifact.put(&world.remote);
        let error = world.registry.fetch(&reference()).await.unwrap_err();
        assert_eq!(check(&error), Some(Check::ManifestJson), "{error:?}");
    }
}

#[tokio::test]
async fn the_artifact_that_the_bad_ones_deviate_from_is_good() {
    let world = World::new(Policy::Off);
    Artifact::good().put(&world.remote);
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("good"));
}
