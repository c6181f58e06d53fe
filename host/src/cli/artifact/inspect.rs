//! `berth plugin inspect` and `berth plugin digest`.

use std::{path::Path, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};

use super::{AccessArgs, Failure, block, failed, read, remote};
use crate::{
    config::host::Registries,
    registry::{
        At, Reference,
        component::Component,
        layout::{self, Layout, MAX_MANIFEST},
        signature::{self, Place},
    },
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin inspect lz.wasm
  berth plugin inspect registry.example.com/partners/landing-zone:1.4.0
  berth plugin inspect registry.example.com/partners/landing-zone:1.4.0 --output json")]
pub(in crate::cli) struct InspectArgs {
    /// A file, or a name in a registry.
    #[arg(value_name = "FILE|REFERENCE")]
    plugin: String,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn inspect(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(None)?;
    let found = match local(&args.plugin) {
        Some(file) => {
            let bytes = read(file)?;
            let packed = layout::pack(&bytes)?;
            let component = Component::read(&bytes)?;
            let json = json!({
                "digest": packed.digest, "component": packed.component, "size": bytes.len(),
                "annotations": packed.annotations,
            });
            with_outside(json, &component)
        }
        None => remote_plugin(&settings, &named(&args.plugin)?)?,
    };
    args.access.tell(&found, &text(&found))
}

/// What a registry has under a name. Nothing is verified but digests.
fn remote_plugin(settings: &Registries, reference: &Reference) -> Result<Value, Failure> {
    let repository = &reference.repository;
    let remote = remote(settings, &repository.registry)?;
    block(async {
        let at = reference.at();
        let manifest = remote.manifest(repository, &at, MAX_MANIFEST).await.map_err(failed)?;
        let max = settings.max_size as u64;
        let layout = Layout::read(&manifest.media_type, &manifest.bytes, max)?;
        let layer = remote
            .blob(repository, &layout.layer.digest, max)
            .await
            .map_err(failed)?;
        let component = Component::read(&layer)?;
        let found = signature::find(remote.as_ref(), repository, &manifest.digest).await;
        if let Some(fault) = found.missed {
            return Err(failed(fault));
        }
        let places: Vec<&str> = found
            .attachments
            .iter()
            .map(|found| match found.place {
                Place::Tag => "tag",
                Place::Referrer => "referrer",
            })
            .collect();
        let json = json!({
            "reference": reference.to_string(), "pinned": format!("{repository}@{}", manifest.digest),
            "digest": manifest.digest, "component": layout.layer.digest, "size": layer.len(),
            "mediaType": layout.layer.media_type, "annotations": layout.annotations, "signatures": places,
        });
        Ok(with_outside(json, &component))
    })
}

fn with_outside(mut json: Value, component: &Component) -> Value {
    json["imports"] = json!(component.imports);
    json["exports"] = json!(component.exports);
    json["worlds"] = json!(component.worlds());
    json
}

/// A JSON object as lines; what is empty is left out.
fn text(found: &Value) -> String {
    let mut text = String::new();
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    for (name, value) in found.as_object().into_iter().flatten() {
        match value {
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) => {
                text.push_str(&format!("{name}:\n"));
                text.extend(items.iter().map(|item| format!("  {}\n", shown(item))));
            }
            Value::Object(items) if items.is_empty() => {}
            Value::Object(items) => {
                text.push_str(&format!("{name}:\n"));
                text.extend(items.iter().map(|(key, item)| format!("  {key}: {}\n", shown(item))));
            }
            Value::Null => {}
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                text.push_str(&format!("{name}: {}\n", shown(value)));
            }
        }
    }
    text
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin digest lz.wasm                                              What a push will print
  berth plugin digest registry.example.com/partners/landing-zone:1.4.0     Where the tag points now")]
pub(in crate::cli) struct DigestArgs {
    /// A file, or a name in a registry.
    #[arg(value_name = "FILE|REFERENCE")]
    plugin: String,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn digest(args: &DigestArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(None)?;
    let digest = match local(&args.plugin) {
        Some(file) => layout::pack(&read(file)?)?.digest,
        None => {
            let reference = named(&args.plugin)?;
            let remote = remote(&settings, &reference.repository.registry)?;
            block(async {
                match reference.at() {
                    // That it is written does not mean that it is there.
                    at @ At::Digest(_) => {
                        let manifest = remote.manifest(&reference.repository, &at, MAX_MANIFEST).await;
                        Ok(manifest.map_err(failed)?.digest)
                    }
                    At::Tag(_) => remote.resolve(&reference).await.map_err(failed),
                }
            })?
        }
    };
    let json = json!({"digest": digest, "plugin": args.plugin});
    args.access.tell(&json, &format!("{digest}  {}\n", args.plugin))
}

/// A file that exists comes before a name in a registry.
fn local(plugin: &str) -> Option<&Path> {
    let file = Path::new(plugin.strip_prefix("file:").unwrap_or(plugin));
    file.is_file().then_some(file)
}

fn named(plugin: &str) -> Result<Reference, Failure> {
    plugin.parse::<Reference>().map_err(|error| {
        Failure::from(
            anyhow::Error::new(error).context(format!("`{plugin}` is neither a file nor a name in a registry")),
        )
    })
}
