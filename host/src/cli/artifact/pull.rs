//! `berth plugin pull` and `berth plugin verify`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;

use super::{AccessArgs, Failure, TrustArgs, block, fetcher, progress, refused, remote};
use crate::{
    artifacts,
    registry::{self, Reference},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin pull registry.example.com/partners/landing-zone:1.4.0 --file lz.wasm
  berth plugin pull registry.example.com/partners/landing-zone:1.4.0 --file lz.wasm --key cosign.pub")]
pub(in crate::cli) struct PullArgs {
    /// What is pulled.
    #[arg(value_name = "REGISTRY/PATH[:TAG][@DIGEST]")]
    reference: Reference,
    /// Where the component is written.
    #[arg(short, long, value_name = "FILE.wasm")]
    file: PathBuf,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn pull(args: &PullArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(Some(&args.trust))?;
    let cache = tempfile::tempdir().context("cannot make a temporary folder")?;
    let registry = fetcher(
        &settings,
        std::slice::from_ref(&args.reference),
        cache.path().to_owned(),
    )?;
    progress(&format!("pulling {}", args.reference));
    let plugin = block(async { registry.fetch(&args.reference).await.map_err(refused) })?.plugin;
    std::fs::write(&args.file, &plugin.bytes).with_context(|| format!("cannot write `{}`", args.file.display()))?;
    let json = json!({
        "digest": plugin.manifest, "component": plugin.digest, "size": plugin.bytes.len(),
        "signedBy": plugin.signed_by, "file": args.file,
    });
    args.access
        .tell(&json, &format!("{}  {}\n", plugin.manifest, args.file.display()))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin verify registry.example.com/partners/landing-zone:1.4.0 --key cosign.pub
  berth plugin verify registry.example.com/partners/landing-zone:1.4.0 --key a.pub --key b.pub --policy all
  berth plugin verify registry.example.com/partners/landing-zone:1.4.0 --config berth.yaml
  berth plugin verify registry.example.com/partners/landing-zone:1.4.0 --trusted-root trusted_root.json \\
    --certificate-identity https://github.com/partners/lz/.github/workflows/release.yaml@refs/tags/v1.4.0 \\
    --certificate-oidc-issuer https://token.actions.githubusercontent.com

Certificates (keyless) are verified offline, by builds with the feature `keyless`. The file of the public Sigstore instance is at
https://tuf-repo-cdn.sigstore.dev; `cosign trusted-root create` writes that of a private one.")]
pub(in crate::cli) struct VerifyArgs {
    /// Whose signatures are verified.
    #[arg(value_name = "REGISTRY/PATH[:TAG][@DIGEST]")]
    reference: Reference,
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let settings = args.access.settings(Some(&args.trust))?;
    let policy = artifacts::policy(&settings)?;
    if !policy.is_enforced() {
        let failure = Failure::from(anyhow!("there is no key or identity to verify with"));
        return Err(failure.with_hint("name a public key with --key, or in `registries.keys`"));
    }
    let repository = &args.reference.repository;
    let remote = remote(&settings, &repository.registry)?;
    let verified = registry::verify(remote.as_ref(), &args.reference, &policy);
    let (digest, by) = block(async { verified.await.map_err(refused) })?;
    let json = json!({"digest": digest, "signedBy": by});
    args.access
        .tell(&json, &format!("{digest}  signed by {}\n", by.join(", ")))
}
