//! How a plugin lies in a registry: one manifest, one config, one layer.
//!
//! Writes the layout that the CNCF agreed on for WebAssembly; reads that one and an older layer type. Everything
//! else is refused by name, before the layer is fetched wherever the manifest alone shows it.

mod error;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    check::Check,
    component::Component,
    reference::{Digest, shortened},
    remote::{Descriptor, INDEX, MANIFEST, or_default},
};

pub use error::LayoutError;

/// The media type of a component's config.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of a component.
pub const LAYER: &str = "application/wasm";
/// The older media type of a component.
pub const LEGACY_LAYER: &str = "application/vnd.wasm.content.layer.v1+wasm";
/// Configs that go with the older layer: nothing is read from them.
const LEGACY_CONFIGS: [&str; 4] = [
    "application/vnd.wasm.config.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.empty.v1+json",
    "application/vnd.unknown.config.v1+json",
];
/// Docker's name of an index.
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Annotation: the versions of the contract.
pub const WIT_PACKAGE: &str = "io.hyperfleet.berth.wit.package";
/// Annotation: the worlds of the contract.
pub const WIT_WORLDS: &str = "io.hyperfleet.berth.wit.worlds";

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST: u64 = 256 << 10;
/// The largest config that is read, in bytes.
pub const MAX_CONFIG: u64 = 256 << 10;

/// A manifest as written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    pub(crate) schema_version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A config as written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    architecture: String,
    os: String,
    layer_digests: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<Declared>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Declared {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

/// A manifest that may be a plugin's: one layer of a known type and a possible size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The config; none where the layout has none that says anything.
    pub config: Option<Descriptor>,
    /// The layer.
    pub layer: Descriptor,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Layout {
    /// Reads a manifest. `sent` is the media type in the registry's answer; `max` the largest layer allowed, in bytes.
    ///
    /// # Errors
    /// When it is not the manifest of a plugin.
    pub fn read(sent: &str, bytes: &[u8], max: u64) -> Result<Self, LayoutError> {
        let manifest: Value = match serde_json::from_slice(bytes) {
            Err(error) if Check::ManifestJson.finds(true) => return Err(LayoutError::Manifest(error)),
            read => read.unwrap_or_default(),
        };
        let version = &manifest["schemaVersion"];
        if Check::ManifestSchema.finds(*version != 2) {
            return Err(LayoutError::Schema(shortened(&version.to_string())));
        }
        let written = manifest["mediaType"].as_str().unwrap_or(sent);
        if Check::ManifestTypeAgrees.finds(written != sent) {
            return Err(LayoutError::MediaTypeDisagrees {
                sent: shortened(sent),
                written: shortened(written),
            });
        }
        let is_index = !manifest["manifests"].is_null() || [INDEX, DOCKER_INDEX].contains(&sent);
        if Check::ManifestNoIndex.finds(is_index) {
            return Err(LayoutError::Index);
        }
        if Check::ManifestType.finds(sent != MANIFEST) {
            return Err(LayoutError::ManifestType(shortened(sent)));
        }
        let config = Self::config(&manifest["config"])?;
        let mut layers = manifest["layers"].as_array().into_iter().flatten();
        let layer = layers.next();
        if Check::LayerNamed.finds(layer.is_none()) {
            return Err(LayoutError::NoLayer);
        }
        let more = layers.count();
        if Check::LayerAlone.finds(more > 0) {
            return Err(LayoutError::ManyLayers(more + 1));
        }
        let layer = part("layer", layer.unwrap_or(&Value::Null))?;
        layer_type(&layer.media_type, config.is_some())?;
        size(&layer, max, Check::LayerSizePossible, Check::LayerSizeBound)?;
        Ok(Self {
            config: config.map(|config| config.descriptor()),
            layer: layer.descriptor(),
            annotations: annotated(&manifest["annotations"])?,
        })
    }

    /// Reads what a manifest names as its config; none if it says nothing of a component.
    fn config(named: &Value) -> Result<Option<Part>, LayoutError> {
        if Check::ConfigNamed.finds(named.is_null()) {
            return Err(LayoutError::NoConfig);
        }
        let config = part("config", named)?;
        if config.media_type == CONFIG {
            size(&config, MAX_CONFIG, Check::ConfigSizePossible, Check::ConfigSizeBound)?;
            return Ok(Some(config));
        }
        let known = LEGACY_CONFIGS.contains(&config.media_type.as_str());
        if Check::ConfigType.finds(!known) {
            return Err(LayoutError::ConfigType(shortened(&config.media_type)));
        }
        Ok(None)
    }

    /// Compares a fetched config with the manifest; answers with what it declares of the component.
    ///
    /// # Errors
    /// When the config contradicts the manifest, or is not a component's.
    pub fn declared(&self, config: &[u8]) -> Result<Declaration, LayoutError> {
        let Some(descriptor) = &self.config else {
            return Ok(Declaration(None));
        };
        same("config", descriptor, config, Check::ConfigSize, Check::ConfigDigest)?;
        let config: Config = match serde_json::from_slice(config) {
            Err(error) if Check::ConfigJson.finds(true) => return Err(LayoutError::Config(error)),
            read => read.unwrap_or_default(),
        };
        if Check::ConfigArchitecture.finds(config.architecture != "wasm") {
            return Err(LayoutError::Architecture(shortened(&config.architecture)));
        }
        if Check::ConfigSystem.finds(config.os != "wasip2") {
            return Err(LayoutError::System(shortened(&config.os)));
        }
        if Check::ConfigLayers.finds(config.layer_digests != [self.layer.digest.clone()]) {
            return Err(LayoutError::LayerDigests);
        }
        if Check::ConfigComponent.finds(config.component.is_none()) {
            return Err(LayoutError::NoComponent);
        }
        Ok(Declaration(config.component.map(Into::into)))
    }

    /// Compares a fetched layer with the manifest, and what it is with what was declared.
    ///
    /// # Errors
    /// When it is not the layer of the manifest, no component, or another one than declared.
    pub fn component(&self, declaration: &Declaration, layer: &[u8]) -> Result<Component, LayoutError> {
        same("layer", &self.layer, layer, Check::LayerSize, Check::LayerDigest)?;
        let component = Component::read(layer)?;
        if let Some((imports, exports)) = &declaration.0 {
            agree("imports", imports, &component.imports, Check::DeclaredImports)?;
            agree("exports", exports, &component.exports, Check::DeclaredExports)?;
        }
        Ok(component)
    }
}

/// What a config says that the component imports and exports, if there is a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration(Option<(BTreeSet<String>, BTreeSet<String>)>);

impl From<Declared> for (BTreeSet<String>, BTreeSet<String>) {
    fn from(declared: Declared) -> Self {
        (declared.imports, declared.exports)
    }
}

/// Something that a manifest names.
struct Part {
    what: &'static str,
    media_type: String,
    digest: Digest,
    size: i64,
}

impl Part {
    fn descriptor(self) -> Descriptor {
        Descriptor {
            media_type: self.media_type,
            digest: self.digest,
            size: self.size,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

fn part(what: &'static str, named: &Value) -> Result<Part, LayoutError> {
    let media_type = named["mediaType"].as_str();
    if Check::PartType.finds(media_type.is_none()) {
        return Err(LayoutError::NoType(what));
    }
    let text = named["digest"].as_str().unwrap_or_default();
    let kind = text.split_once(':').map_or("", |(kind, _)| kind);
    if Check::PartDigestKind.finds(kind != "sha256") {
        return Err(LayoutError::DigestKind {
            what,
            kind: shortened(kind),
        });
    }
    let digest = text.parse::<Digest>();
    if Check::PartDigest.finds(digest.is_err()) {
        return Err(LayoutError::Digest {
            what,
            text: shortened(text),
        });
    }
    let size = named["size"].as_i64();
    if Check::PartSize.finds(size.is_none()) {
        return Err(LayoutError::NoSize {
            what,
            size: shortened(&named["size"].to_string()),
        });
    }
    Ok(Part {
        what,
        media_type: media_type.unwrap_or_default().to_owned(),
        digest: digest.unwrap_or_else(|_| Digest::of(b"")),
        size: size.unwrap_or_default(),
    })
}

fn annotated(annotations: &Value) -> Result<BTreeMap<String, String>, LayoutError> {
    match serde_json::from_value::<Option<_>>(annotations.clone()) {
        Err(error) if Check::Annotations.finds(true) => Err(LayoutError::Annotations(error)),
        read => Ok(read.ok().flatten().unwrap_or_default()),
    }
}

fn layer_type(media_type: &str, has_config: bool) -> Result<(), LayoutError> {
    if media_type == LAYER && has_config || media_type == LEGACY_LAYER {
        return Ok(());
    }
    let told = shortened(media_type);
    let ends = ["+gzip", ".gzip", "+zstd", "+xz"];
    if Check::LayerTypeNotPacked.finds(ends.iter().any(|end| media_type.ends_with(end))) {
        return Err(LayoutError::CompressedLayer(told));
    }
    let words = ["cwasm", "precompiled", "elf", "native"];
    if Check::LayerTypeNotNative.finds(words.iter().any(|word| media_type.contains(word))) {
        return Err(LayoutError::NativeLayer(told));
    }
    // The layout of the CNCF has its config: without it, nothing was declared.
    if Check::LayerTypeWithConfig.finds(media_type == LAYER) {
        return Err(LayoutError::Undeclared);
    }
    if Check::LayerType.finds(media_type != LAYER) {
        return Err(LayoutError::LayerType(told));
    }
    Ok(())
}

fn size(part: &Part, limit: u64, possible: Check, bound: Check) -> Result<(), LayoutError> {
    let (what, size) = (part.what, part.size);
    if possible.finds(size < 1) {
        return Err(LayoutError::Size { what, size });
    }
    let size = u64::try_from(size).unwrap_or_default();
    if bound.finds(size > limit) {
        return Err(LayoutError::TooLarge { what, size, limit });
    }
    Ok(())
}

fn same(
    what: &'static str,
    descriptor: &Descriptor,
    bytes: &[u8],
    by_size: Check,
    by_digest: Check,
) -> Result<(), LayoutError> {
    let expected = u64::try_from(descriptor.size).unwrap_or_default();
    let got = bytes.len() as u64;
    if by_size.finds(expected != got) {
        return Err(LayoutError::SizeDiffers { what, expected, got });
    }
    let got = Digest::of(bytes);
    if by_digest.finds(got != descriptor.digest) {
        return Err(LayoutError::DigestDiffers {
            what,
            expected: descriptor.digest.clone(),
            got,
        });
    }
    Ok(())
}

fn agree(
    what: &'static str,
    declared: &BTreeSet<String>,
    actual: &BTreeSet<String>,
    check: Check,
) -> Result<(), LayoutError> {
    if !check.finds(declared != actual) {
        return Ok(());
    }
    let list = |names: &BTreeSet<String>| {
        let told: Vec<_> = names
            .iter()
            .take(20)
            .map(|name| format!("`{}`", shortened(name)))
            .collect();
        if told.is_empty() {
            "nothing".to_owned()
        } else {
            told.join(", ")
        }
    };
    Err(LayoutError::Declared {
        what,
        declared: list(declared),
        actual: list(actual),
    })
}

/// A component, ready to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The manifest.
    pub manifest: Vec<u8>,
    /// The config, named by the manifest.
    pub config: Vec<u8>,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The digest of the component.
    pub component: Digest,
    /// The manifest's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Packs a component. The same component always gives the same manifest: nothing of the time, the machine or the
/// repository goes into it.
///
/// # Errors
/// When `bytes` are no component.
pub fn pack(bytes: &[u8]) -> Result<Packed, LayoutError> {
    let component = Component::read(bytes)?;
    let layer = Digest::of(bytes);
    let annotations = annotations(&component);
    let config = json(&Config {
        // Readers of this layout insist on a time; a real one would make each push another artifact.
        created: Some("1970-01-01T00:00:00Z".to_owned()),
        architecture: "wasm".to_owned(),
        os: "wasip2".to_owned(),
        layer_digests: vec![layer.clone()],
        component: Some(Declared {
            exports: component.exports,
            imports: component.imports,
            target: None,
        }),
    })?;
    let manifest = json(&Written {
        schema_version: 2,
        media_type: Some(MANIFEST.to_owned()),
        artifact_type: None,
        config: describe(CONFIG, &config),
        layers: vec![describe(LAYER, bytes)],
        subject: None,
        annotations: annotations.clone(),
    })?;
    Ok(Packed {
        digest: Digest::of(&manifest),
        component: layer,
        manifest,
        config,
        annotations,
    })
}

/// The descriptor of some bytes.
pub(crate) fn describe(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(bytes),
        size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
        artifact_type: None,
        annotations: BTreeMap::new(),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, LayoutError> {
    serde_json::to_vec(value).map_err(LayoutError::Manifest)
}

fn annotations(component: &Component) -> BTreeMap<String, String> {
    let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(",");
    let standard = [
        ("name", "title"),
        ("version", "version"),
        ("source", "source"),
        ("licenses", "licenses"),
        ("description", "description"),
        ("authors", "authors"),
        ("homepage", "url"),
        ("revision", "revision"),
    ];
    standard
        .iter()
        .filter_map(|(section, key)| {
            let text = component.metadata.get(section)?;
            Some((format!("org.opencontainers.image.{key}"), text.clone()))
        })
        .chain([
            (WIT_PACKAGE.to_owned(), joined(component.packages())),
            (WIT_WORLDS.to_owned(), joined(component.worlds())),
        ])
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::component::tests::sample;

    #[test]
    fn the_same_component_gives_the_same_artifact() {
        let packed = pack(&sample("one")).unwrap();
        assert_eq!(packed, pack(&sample("one")).unwrap());
        assert_ne!(packed.digest, pack(&sample("two")).unwrap().digest);
        // Pinned: a new version of berth must not change the digests of what was pushed before.
        insta::assert_snapshot!(String::from_utf8(packed.config).unwrap(), @r#"{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["sha256:8d918a444bf219a7879f9a9c35be8cce7e9388fcd0129969571bdf11fcd8b688"],"component":{"exports":["hyperfleet:adapter/preconditions@0.1.0"],"imports":["hyperfleet:adapter/log@0.1.0"]}}"#);
        insta::assert_snapshot!(packed.digest.as_str(), @"sha256:a2b84f99fd0c0abffb96db569739f286c68869ef639abdc10223dc88f223cfdc");
    }

    #[test]
    fn what_was_packed_is_read() {
        let bytes = sample("one");
        let packed = pack(&bytes).unwrap();
        let layout = Layout::read(MANIFEST, &packed.manifest, 1 << 20).unwrap();
        assert_eq!(layout.annotations["org.opencontainers.image.title"], "landing-zone");
        assert_eq!(layout.annotations["org.opencontainers.image.version"], "1.4.0");
        assert_eq!(layout.annotations[WIT_PACKAGE], "hyperfleet:adapter@0.1.0");
        assert_eq!(layout.annotations[WIT_WORLDS], "preconditions-plugin,uses-log");
        let declared = layout.declared(&packed.config).unwrap();
        layout.component(&declared, &bytes).unwrap();
    }

    #[test]
    fn the_older_layer_type_is_read_with_any_config_that_goes_with_it() {
        let bytes = sample("one");
        for config in LEGACY_CONFIGS {
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "config": describe(config, b"{}"),
                "layers": [describe(LEGACY_LAYER, &bytes)],
                "annotations": null,
            });
            let layout = Layout::read(MANIFEST, manifest.to_string().as_bytes(), 1 << 20).unwrap();
            let declared = layout.declared(b"").unwrap();
            layout.component(&declared, &bytes).unwrap();
        }
    }
}
