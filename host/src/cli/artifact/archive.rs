//! `berth plugin save` and `berth plugin load`.

use std::{
    fs::File,
    io::{BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{AccessArgs, Failure, TrustArgs, block, fetcher, progress, refused};
use crate::{
    artifacts,
    registry::{
        Reference,
        archive::{self, ArchiveError},
        store::Store,
    },
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin save registry.example.com/partners/landing-zone:1.4.0 registry.example.com/partners/dns:2.0.0 --file plugins.tar
  berth plugin save registry.example.com/partners/landing-zone:1.4.0 --file plugins.tar --key cosign.pub

The archive is an OCI image layout with the plugins and their signatures. `berth plugin load` reads it where there is no network.")]
pub(in crate::cli) struct SaveArgs {
    /// What is saved.
    #[arg(required = true, value_name = "REGISTRY/PATH[:TAG][@DIGEST]")]
    references: Vec<Reference>,
    /// The archive.
    #[arg(short, long, value_name = "FILE.tar")]
    file: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn save(args: &SaveArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(Some(&args.trust))?;
    let cache = tempfile::tempdir().context("cannot make a temporary folder")?;
    let registry = fetcher(&settings, &args.references, cache.path().to_owned())?;
    let saved = block(async {
        let mut saved = Vec::new();
        for reference in &args.references {
            progress(&format!("pulling {reference}"));
            let plugin = registry.fetch(reference).await.map_err(refused)?.plugin;
            registry.took_over(reference, &plugin.manifest).await;
            saved.push((reference, plugin.manifest));
        }
        Ok(saved)
    })?;
    write(&registry, args).with_context(|| format!("cannot write `{}`", args.file.display()))?;
    let json = saved
        .iter()
        .map(|(reference, digest)| json!({"reference": reference.to_string(), "digest": digest}));
    let text: String = saved
        .iter()
        .map(|(reference, digest)| format!("{digest}  {reference}\n"))
        .collect();
    args.access.tell(&json.collect(), &text)
}

/// Writes beside the file first, so that there is never half an archive.
fn write(registry: &crate::registry::Registry, args: &SaveArgs) -> anyhow::Result<()> {
    let folder = args.file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    let mut to = BufWriter::new(&mut file);
    archive::save(registry.store(), &args.references, &mut to)?;
    to.flush()?;
    drop(to);
    file.persist(&args.file)?;
    Ok(())
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin load plugins.tar --cache /var/cache/berth/registry --key cosign.pub
  berth plugin load plugins.tar --config berth.yaml

A host whose `registries.cache` is that folder runs the plugins without asking their registry.")]
pub(in crate::cli) struct LoadArgs {
    /// The archive.
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
    /// The folder of verified plugins [default: `registries.cache`].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn load(args: &LoadArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(Some(&args.trust))?;
    let cache = args.cache.clone().or_else(|| settings.cache.clone()).ok_or_else(|| {
        Failure::from(anyhow::anyhow!("there is no folder to load the plugins into"))
            .with_hint("name it with --cache, or in `registries.cache`")
    })?;
    let policy = artifacts::policy(&settings)?;
    let store = Store::open(&cache, settings.cache_size as u64)?;
    let file = File::open(&args.file).with_context(|| format!("cannot read `{}`", args.file.display()))?;
    let loaded = archive::load(&store, BufReader::new(file), &policy, settings.max_size as u64).map_err(unloaded)?;
    let json = loaded.iter().map(|loaded| {
        json!({
            "reference": loaded.reference.to_string(), "digest": loaded.manifest, "signedBy": loaded.signed_by,
        })
    });
    let text: String = loaded
        .iter()
        .map(|loaded| format!("{}  {}\n", loaded.manifest, loaded.reference))
        .collect();
    args.access.tell(&json.collect(), &text)
}

/// Why nothing was loaded, with what to do about it.
fn unloaded(error: ArchiveError) -> Failure {
    let hint = match &error {
        ArchiveError::LargerThanCache(_) => "raise `registries.cacheSize`, or save fewer plugins in one archive",
        ArchiveError::TooLarge { .. } => "raise `registries.maxSize` if a plugin is meant to be so large",
        ArchiveError::Signature { source, .. } => source.advice(),
        ArchiveError::Layout { .. } => "push the component again with `berth plugin push`, and save it again",
        ArchiveError::Store(_) => "look at the folder: its rights, and the room on its disk",
        ArchiveError::Io(_)
        | ArchiveError::Path(_)
        | ArchiveError::Extension(_)
        | ArchiveError::NoFile(_)
        | ArchiveError::Twice(_)
        | ArchiveError::TooMany
        | ArchiveError::DigestMismatch { .. }
        | ArchiveError::Missing(_)
        | ArchiveError::NotKept(_) => "write it again with `berth plugin save`",
    };
    Failure::from(error).with_hint(hint)
}
