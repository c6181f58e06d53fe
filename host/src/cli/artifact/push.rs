//! `berth plugin push` and `berth plugin sign`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use super::{AccessArgs, Failure, block, failed, progress, read, remote};
use crate::registry::{
    self, PrivateKey, PushError, Reference,
    access::doctor::advice,
    signature::{self, SignError},
};

/// The variable with a key's password, as cosign has it.
const PASSWORD: &str = "COSIGN_PASSWORD";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth plugin push lz.wasm registry.example.com/partners/landing-zone:1.4.0
  berth plugin push lz.wasm localhost:5000/lz:dev --insecure localhost:5000 --output json

The same component always gives the same digest: nothing of time, machine or repository goes into it.")]
pub(in crate::cli) struct PushArgs {
    /// The plugin.
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// Where it is pushed to.
    #[arg(value_name = "REGISTRY/PATH:TAG")]
    reference: Reference,
    #[command(flatten)]
    access: AccessArgs,
}

pub(in crate::cli) fn push(args: &PushArgs) -> Result<ExitCode, Failure> {
    let bytes = read(&args.file)?;
    let settings = args.access.settings(None)?;
    let Reference { repository, tag, .. } = &args.reference;
    let remote = remote(&settings, &repository.registry)?;
    let told = |part: &str, bytes: u64| progress(&format!("pushed {part}, {bytes} bytes"));
    let packed = block(async {
        let pushed = registry::push(remote.as_ref(), repository, tag.as_deref(), &bytes, &told).await;
        pushed.map_err(|error| match error {
            PushError::Registry { .. } => {
                Failure::from(error).with_hint("`berth registry check` looks for the cause, step by step")
            }
            PushError::Layout(_) => {
                Failure::from(error).with_hint("`berth plugin build` makes a plugin of a core module")
            }
            PushError::Differs { .. } => Failure::from(error),
        })
    })?;
    let name = format!("{repository}@{}", packed.digest);
    let json = json!({
        "digest": packed.digest, "component": packed.component, "reference": args.reference.to_string(),
        "pinned": name, "annotations": packed.annotations,
    });
    args.access
        .tell(&json, &format!("{}  {}\n", packed.digest, args.reference))
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  COSIGN_PASSWORD=... berth plugin sign registry.example.com/partners/landing-zone:1.4.0 --key cosign.key
  berth plugin sign registry.example.com/partners/landing-zone@sha256:... --key cosign.key --password-file password

The key is what `cosign generate-key-pair` writes, or a PKCS #8 key without a password. The signature is in cosign's format:
  cosign verify --key cosign.pub --insecure-ignore-tlog registry.example.com/partners/landing-zone:1.4.0
With a key of P-384, cosign must be told `--signature-digest-algorithm sha384`.")]
pub(in crate::cli) struct SignArgs {
    /// What is signed.
    #[arg(value_name = "REGISTRY/PATH[:TAG][@DIGEST]")]
    reference: Reference,
    /// The private key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The file with the key's password; by default it is in the variable COSIGN_PASSWORD.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The format of the signature.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    access: AccessArgs,
}

/// How signatures are written. Each is read by berth and by cosign 3.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Under the tag `sha256-<hex>.sig`, as cosign 2 does: any registry and any tool that copies tags keeps it.
    #[default]
    Tag,
    /// As a bundle that refers to the plugin, as cosign 3 does.
    Bundle,
}

pub(in crate::cli) fn sign(args: &SignArgs) -> Result<ExitCode, Failure> {
    let password = match &args.password_file {
        Some(file) => {
            let mut password = read(file)?;
            while password.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                password.pop();
            }
            password
        }
        None => std::env::var_os(PASSWORD).unwrap_or_default().into_encoded_bytes(),
    };
    let key = PrivateKey::read(&read(&args.key)?, &password)
        .with_context(|| format!("cannot use the private key `{}`", args.key.display()))
        .map_err(|error| {
            Failure::from(error).with_hint(format!("its password is read from {PASSWORD} or --password-file"))
        })?;
    let settings = args.access.settings(None)?;
    let repository = &args.reference.repository;
    let remote = remote(&settings, &repository.registry)?;
    // What a tag points to at a mirror is not what is to be signed.
    let remote = remote.behind_mirrors(repository).unwrap_or(remote);
    let (digest, place) = block(async {
        let digest = remote.resolve(&args.reference).await.map_err(failed)?;
        progress(&format!("signing {digest}"));
        let place = match args.format {
            Format::Tag => {
                let signed = signature::sign(remote.as_ref(), repository, &digest, &key).await;
                let tag = signed.map_err(unsigned)?;
                format!("{repository}:{tag}")
            }
            Format::Bundle => {
                let signed = signature::sign_as_bundle(remote.as_ref(), repository, &digest, &key).await;
                let bundle = signed.map_err(unsigned)?;
                format!("{repository}@{bundle}")
            }
        };
        Ok((digest, place))
    })?;
    let json = json!({"digest": digest, "signature": place});
    args.access.tell(&json, &format!("{digest}  {place}\n"))
}

/// Why nothing was signed, with what to do about it.
fn unsigned(error: SignError) -> Failure {
    let hint = match &error {
        SignError::Registry { source, .. } => advice(source),
        SignError::Key(_) => "`cosign generate-key-pair` writes a key that can sign",
        SignError::Occupied(_) | SignError::Full(_) => "sign with `--format bundle`, which needs no tag",
    };
    Failure::from(error).with_hint(hint)
}
