//! `berth plugin push|pull|sign|inspect|verify|digest|save|load` and `berth registry check`.

mod archive;
mod check;
mod inspect;
mod pull;
mod push;

use std::{
    future::Future,
    io::{IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

pub(super) use archive::{LoadArgs, SaveArgs, load, save};
pub(super) use check::{RegistryCommand, run as registry};
pub(super) use inspect::{DigestArgs, InspectArgs, digest, inspect};
pub(super) use pull::{PullArgs, VerifyArgs, pull, verify};
pub(super) use push::{PushArgs, SignArgs, push, sign};

use super::{Failure, Output, print};
use crate::{
    artifacts,
    config::host::{Registries, Written, load_registries},
    registry::{
        Error, Reference, Registry,
        remote::{Fault, Remote},
    },
};

/// The file that is read where no other is named.
const DEFAULT_FILE: &str = "berth.yaml";

/// How registries are reached: `registries` of the configuration, and flags.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AccessArgs {
    /// The configuration file, of which `registries` is read [default: berth.yaml, if there is one].
    #[arg(long, value_name = "FILE", env = "BERTH_CONFIG")]
    config: Option<PathBuf>,
    /// A file with credentials: docker's config.json, or a pull secret. Can be repeated.
    #[arg(long, value_name = "FILE")]
    docker_config: Vec<String>,
    /// A file with certificates to trust in addition.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,
    /// A registry that is spoken to without TLS. Can be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    insecure: Vec<String>,
    /// How results are told.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Who is trusted. Whoever is named here stands in the place of all that the configuration names.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TrustArgs {
    /// A file with a public key that must have signed. Can be repeated.
    #[arg(long, value_name = "FILE")]
    key: Vec<String>,
    /// Who must have signed by a certificate (keyless): the email address or URI in it, exactly.
    #[arg(long, value_name = "SUBJECT", requires = "certificate_oidc_issuer")]
    certificate_identity: Option<String>,
    /// Who vouched for that identity: the issuer in the certificate, exactly.
    #[arg(long, value_name = "URL", requires = "certificate_identity")]
    certificate_oidc_issuer: Option<String>,
    /// The file with the authorities and logs that the certificate comes from: a Sigstore instance's trusted_root.json.
    #[arg(long, value_name = "FILE")]
    trusted_root: Option<String>,
    /// How many of the keys and identities must have signed: `any`, `all`, or a number.
    #[arg(long, value_name = "any|all|N")]
    policy: Option<String>,
}

impl TrustArgs {
    /// As the configuration says it. Who names one kind of signer names no other.
    fn flags(&self) -> [(&'static str, &'static str, Option<String>); 4] {
        const IDENTITY: &str = "--certificate-identity";
        let nobody = || "[]".to_owned();
        let keys = (!self.key.is_empty()).then(|| json!(self.key).to_string());
        let identities = self
            .certificate_identity
            .as_ref()
            .map(|subject| json!([{"issuer": self.certificate_oidc_issuer, "subject": subject}]).to_string());
        let (keys, identities) = match (keys, identities) {
            (Some(keys), None) => (("--key", Some(keys)), ("--key", Some(nobody()))),
            (None, Some(identities)) => ((IDENTITY, Some(nobody())), (IDENTITY, Some(identities))),
            (keys, identities) => (("--key", keys), (IDENTITY, identities)),
        };
        [
            ("registries.keys", keys.0, keys.1),
            ("registries.identities", identities.0, identities.1),
            ("registries.trustedRoot", "--trusted-root", self.trusted_root.clone()),
            ("registries.policy", "--policy", self.policy.clone()),
        ]
    }
}

type Flag = (&'static str, &'static str, String);

impl AccessArgs {
    /// Merges file, variables and flags.
    #[allow(
        clippy::needless_update,
        reason = "settings may be written in further places, which are none of ours"
    )]
    fn settings(&self, trust: Option<&TrustArgs>) -> Result<Registries, Failure> {
        let list = |texts: &[String]| (!texts.is_empty()).then(|| json!(texts).to_string());
        let trusted = trust.cloned().unwrap_or_default();
        let flags: Vec<Flag> = [
            ("registries.dockerConfig", "--docker-config", list(&self.docker_config)),
            ("registries.caFile", "--ca-file", self.ca_file.clone()),
            ("registries.insecure", "--insecure", list(&self.insecure)),
        ]
        .into_iter()
        .chain(trusted.flags())
        .filter_map(|(key, flag, value)| Some((key, flag, value?)))
        .collect();
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
            .filter(|(name, _)| name.starts_with("BERTH_"))
            .collect();
        let file = match &self.config {
            Some(file) => Some(file.as_path()),
            None => Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists()),
        };
        let text = match file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read the configuration `{}`", file.display()))?;
                Some((file, text))
            }
            None => None,
        };
        Ok(load_registries(&Written {
            file: text.as_ref().map(|(file, text)| (*file, text.as_str())),
            variables: &variables,
            flags: &flags,
            ..Written::default()
        })?)
    }

    fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Tells a result: one JSON document, or text.
    fn tell(&self, json: &Value, text: &str) -> Result<ExitCode, Failure> {
        if self.is_json() {
            print(&format!("{json:#}\n"))
        } else {
            print(text)
        }
    }
}

/// A registry of the settings, by its name.
fn remote(settings: &Registries, registry: &str) -> Result<Arc<dyn Remote>, Failure> {
    artifacts::access(settings).open(registry).map_err(failed)
}

/// What fetches plugins into `cache`, with all checks. What a person names is allowed.
fn fetcher(settings: &Registries, references: &[Reference], cache: PathBuf) -> Result<Registry, Failure> {
    let mut settings = settings.clone();
    settings.allow = references
        .iter()
        .map(|reference| reference.repository.to_string())
        .collect();
    Ok(artifacts::registry(&settings, cache)?)
}

/// Runs what talks to registries. Warnings go to stderr.
fn block<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    runtime.block_on(work)
}

/// Tells how far it is, on stderr and on a terminal only.
fn progress(text: &str) {
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        // Where stderr is gone, there is nobody to tell.
        drop(writeln!(stderr.lock(), "{text}"));
    }
}

/// A fault of a registry, with where to look for its cause.
fn failed(fault: Fault) -> Failure {
    Failure::from(fault).with_hint("`berth registry check` looks for the cause, step by step")
}

/// The same for a fetch.
fn refused(error: Error) -> Failure {
    let hint = match &error {
        Error::Signature { source, .. } => source.advice(),
        Error::Layout { .. } => "push the component again with `berth plugin push`",
        Error::MovedTag { .. } => "ask for the tag or for the digest alone",
        Error::NotAllowed(_) | Error::Registry { .. } | Error::Deadline { .. } | Error::Aborted { .. } => {
            "`berth registry check` looks for the cause, step by step"
        }
    };
    Failure::from(error).with_hint(hint)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}
