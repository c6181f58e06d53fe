//! Artifacts that no plugin is, each refused by a check of its own.

use serde_json::{Value, json};

use super::{checks::check, *};
use crate::registry::component::tests::with_too_many_imports;
use crate::registry::layout::{CONFIG, LAYER, LEGACY_LAYER, describe};

/// One artifact: how it deviates from a good one, and which check refuses it.
struct Bad {
    name: &'static str,
    check: &'static str,
    make: fn(&mut Artifact),
}

type MakeFault = fn() -> Fault;

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
    /// Left out of the registry.
    missing: Vec<Digest>,
    /// What the registry answers to a call of this name.
    fault: Option<(&'static str, MakeFault)>,
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
            missing: Vec::new(),
            fault: None,
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
        for digest in self.missing {
            remote.blobs.lock().unwrap().remove(&digest);
        }
        let manifest = self.raw.unwrap_or_else(|| self.manifest.to_string().into_bytes());
        remote.put("1", &self.media_type, &manifest);
        if let Some((call, fault)) = self.fault {
            remote.lies(move |called| (called == call).then(fault));
        }
    }
}

const fn bad(name: &'static str, check: &'static str, make: fn(&mut Artifact)) -> Bad {
    Bad { name, check, make }
}

const BAD: &[Bad] = &[
    // The manifest.
    bad(
        "a manifest that is no JSON",
        "the manifest is JSON of a manifest",
        |a| a.raw = Some(b"<html>".to_vec()),
    ),
    bad("an empty manifest", "the manifest is JSON of a manifest", |a| {
        a.raw = Some(Vec::new())
    }),
    bad("a manifest cut short", "the manifest is JSON of a manifest", |a| {
        let whole = a.manifest.to_string().into_bytes();
        a.raw = Some(whole[..whole.len() / 2].to_vec());
    }),
    bad(
        "a manifest without a config",
        "the manifest is JSON of a manifest",
        |a| {
            a.manifest.as_object_mut().unwrap().remove("config");
        },
    ),
    bad(
        "a manifest nested without end",
        "the manifest is JSON of a manifest",
        |a| {
            a.raw = Some(format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(100_000)).into_bytes());
        },
    ),
    bad(
        "a digest of another algorithm",
        "the manifest is JSON of a manifest",
        |a| {
            a.manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
        },
    ),
    bad(
        "a digest that climbs out of its folder",
        "the manifest is JSON of a manifest",
        |a| {
            a.manifest["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd");
        },
    ),
    bad(
        "a size that is no whole number",
        "the manifest is JSON of a manifest",
        |a| {
            a.manifest["layers"][0]["size"] = json!(1.5);
        },
    ),
    bad("a manifest of schema 1", "schema version", |a| {
        a.manifest["schemaVersion"] = json!(1)
    }),
    bad("a manifest larger than any manifest", "bytes of the manifest", |a| {
        a.manifest["annotations"]["x"] = json!("x".repeat(300 << 10));
    }),
    bad(
        "a manifest that is called otherwise than it calls itself",
        "registry and manifest agree on its type",
        |a| {
            a.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        },
    ),
    bad("an index", "no index", |a| {
        a.media_type = INDEX.to_owned();
        a.manifest = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": []});
    }),
    bad("an index that calls itself a manifest", "no index", |a| {
        a.manifest["manifests"] = json!([])
    }),
    bad("an image of Docker", "type of the manifest", |a| {
        a.media_type = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
        a.manifest["mediaType"] = json!(a.media_type);
    }),
    bad("something of no known type", "type of the manifest", |a| {
        a.media_type = "text/html".to_owned();
        a.manifest.as_object_mut().unwrap().remove("mediaType");
    }),
    // What the manifest names.
    bad("a config of a Helm chart", "type of the config", |a| {
        a.manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json");
    }),
    bad("no layer", "there is a layer", |a| a.manifest["layers"] = json!([])),
    bad("two layers", "there is one layer", |a| {
        let layer = a.manifest["layers"][0].clone();
        a.manifest["layers"] = json!([layer, layer]);
    }),
    bad("a layer of an image", "type of the layer", |a| {
        a.manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    }),
    bad("a compressed layer", "a type that is not compressed", |a| {
        a.manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+gzip");
    }),
    bad(
        "a layer that calls itself precompiled",
        "a type that is no native code",
        |a| {
            a.manifest["layers"][0]["mediaType"] = json!("application/vnd.wasmtime.cwasm.v1");
        },
    ),
    bad(
        "a component with a config that says nothing of it",
        "the config describes the component",
        |a| {
            a.manifest["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        },
    ),
    bad("a layer of negative size", "a possible size of the layer", |a| {
        a.manifest["layers"][0]["size"] = json!(-1)
    }),
    bad("a layer without bytes", "a possible size of the layer", |a| {
        a.manifest["layers"][0]["size"] = json!(0)
    }),
    bad(
        "a layer that says it is larger than allowed",
        "the promised size of the layer",
        |a| {
            a.manifest["layers"][0]["size"] = json!(i64::MAX);
        },
    ),
    bad(
        "a config that says it is larger than any config",
        "the promised size of the config",
        |a| {
            a.manifest["config"]["size"] = json!(1 << 30);
        },
    ),
    // The config.
    bad("a config that is missing", "it is there", |a| {
        a.missing.push(Digest::of(&a.config))
    }),
    bad("a config that is no JSON", "the config is JSON of a config", |a| {
        a.raw_config(b"no JSON".to_vec())
    }),
    bad(
        "a config of other bytes than named",
        "the config has the digest named",
        |a| {
            let mut other = a.config.clone();
            other[0] = b' ';
            a.sends("/config", other);
        },
    ),
    bad("a config shorter than named", "the config has the size promised", |a| {
        a.manifest["config"]["size"] = json!(a.config.len() + 1);
    }),
    bad("a config for Linux", "operating system", |a| {
        a.config(|config| config["os"] = json!("linux"))
    }),
    bad("a config for WASI preview 1", "operating system", |a| {
        a.config(|config| config["os"] = json!("wasip1"))
    }),
    bad("a config for a processor", "architecture", |a| {
        a.config(|config| config["architecture"] = json!("amd64"));
    }),
    bad("a config that lists another layer", "the config lists the layer", |a| {
        a.config(|config| config["layerDigests"] = json!([Digest::of(b"another")]));
    }),
    bad("a config that lists no layer", "the config lists the layer", |a| {
        a.config(|config| config["layerDigests"] = json!([]));
    }),
    bad(
        "a config that does not describe the component",
        "the config describes the component",
        |a| {
            a.config(|config| config["component"] = Value::Null);
        },
    ),
    bad("a config without bytes", "a possible size of the config", |a| {
        a.manifest["config"]["size"] = json!(0)
    }),
    // The layer.
    bad("a layer that is missing", "it is there", |a| {
        a.missing.push(Digest::of(&a.layer))
    }),
    bad(
        "a layer that was tampered with",
        "the layer has the digest named",
        |a| {
            let mut other = a.layer.clone();
            *other.last_mut().unwrap() ^= 1;
            a.sends("/layers/0", other);
        },
    ),
    bad("a layer cut short", "the layer has the size promised", |a| {
        let short = a.layer[..a.layer.len() - 1].to_vec();
        a.sends("/layers/0", short);
    }),
    bad("a layer that is longer than it said", "bytes of a blob", |a| {
        let long = [a.layer.as_slice(), b"more"].concat();
        a.sends("/layers/0", long);
    }),
    bad(
        "a file of native code under the type of a component",
        "no native code",
        |a| {
            a.layer(b"\x7fELF\x02\x01\x01\0precompiled".to_vec());
        },
    ),
    bad("a gzip bomb under the type of a component", "not compressed", |a| {
        a.layer([b"\x1f\x8b\x08\0".as_slice(), &[0; 4096]].concat());
    }),
    bad("a gzip bomb under the older type", "not compressed", |a| {
        a.layer([b"\x1f\x8b\x08\0".as_slice(), &[0; 4096]].concat());
        a.manifest["layers"][0]["mediaType"] = json!(LEGACY_LAYER);
        a.manifest["config"]["mediaType"] = json!("application/vnd.wasm.config.v1+json");
    }),
    bad("a core module", "no core module", |a| {
        a.layer(b"\0asm\x01\0\0\0".to_vec())
    }),
    bad("a page that a proxy made", "a whole component", |a| {
        a.layer(b"<html>sign in</html>".to_vec())
    }),
    bad("half a component", "a whole component", |a| {
        a.layer(a.layer[..a.layer.len() - 3].to_vec())
    }),
    bad("a component that imports more than declared", "declared imports", |a| {
        a.config(|config| config["component"]["imports"] = json!([]));
    }),
    bad("a component that exports less than declared", "declared exports", |a| {
        a.config(|config| config["component"]["exports"] = json!(["hyperfleet:adapter/status@0.1.0"]));
    }),
    bad(
        "a component with more imports than anybody needs",
        "number of imports and exports",
        |a| {
            a.layer(with_too_many_imports());
        },
    ),
    // The registry.
    bad("a tag that is not there", "it is there", |a| {
        a.fault = Some(("resolve", || Fault::NotFound {
            what: "a tag".to_owned(),
        }));
    }),
    bad("a registry that wants to know who asks", "we are let in", |a| {
        a.fault = Some(("manifest", || Fault::Unauthorized {
            registry: "r".to_owned(),
        }));
    }),
    // On the wire: `a_body_that_ends_early_is_told_as_truncated`.
    bad("a registry that breaks off", "an answer has its length", |a| {
        a.fault = Some(("blob", || Fault::Truncated {
            what: "a blob".to_owned(),
            expected: 10,
            got: 4,
        }));
    }),
    bad("a registry that redirects in a ring", "redirects end", |a| {
        a.fault = Some(("blob", || Fault::RedirectLoop {
            registry: "r".to_owned(),
        }));
    }),
];

/// The checks that have a case here.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BAD.iter().map(|bad| bad.check)
}

#[tokio::test]
async fn every_bad_artifact_is_refused_by_its_own_check_and_nothing_of_it_is_kept() {
    let mut wrong = Vec::new();
    for bad in BAD {
        let world = World::new(Policy::Off);
        let mut artifact = Artifact::good();
        (bad.make)(&mut artifact);
        artifact.put(&world.remote);
        match world.registry.fetch(&reference()).await {
            Ok(_) => wrong.push(format!("{}: accepted", bad.name)),
            Err(error) if check(&error) != bad.check => {
                let (by, told) = (check(&error), chain(&error));
                wrong.push(format!("{}: refused by `{by}`, not `{}`: {told}", bad.name, bad.check));
            }
            Err(error) if chain(&error).len() > 1000 => wrong.push(format!("{}: a text without end", bad.name)),
            Err(_) => {}
        }
        world.remote.is_up();
        let digest = world.remote.tags.lock().unwrap().get("1").cloned();
        let pinned = reference().pinned(digest.unwrap());
        let kept = world.registry.cached(&pinned, &Policy::Off).await.unwrap();
        if kept.is_some() {
            wrong.push(format!("{}: kept", bad.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn the_artifact_that_the_bad_ones_deviate_from_is_good() {
    let world = World::new(Policy::Off);
    Artifact::good().put(&world.remote);
    let fetched = world.registry.fetch(&reference()).await.unwrap();
    assert_eq!(fetched.plugin.bytes, sample("good"));
}
