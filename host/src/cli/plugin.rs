//! `berth plugin`: `build` is here, what talks to registries is in [`artifact`](super::artifact).

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, bail};
use berth_componentize::{Adapter, Metadata, Options, componentize, describe};
use clap::{Args, Subcommand};
use sha2::{Digest as _, Sha256};

use super::{Failure, artifact, print};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Makes a plugin of a core WebAssembly module and prints its digest.
    Build(BuildArgs),
    /// Shows the plugins of a running host: what is wanted, what is live, why nothing newer is.
    Status(super::status::StatusArgs),
    /// Pushes a plugin to a registry and prints its digest.
    Push(artifact::PushArgs),
    /// Pulls a plugin from a registry, verified, into a file.
    Pull(artifact::PullArgs),
    /// Signs a plugin in a registry with a key, in cosign's format.
    Sign(artifact::SignArgs),
    /// Verifies the signatures of a plugin in a registry.
    Verify(artifact::VerifyArgs),
    /// Shows what a plugin is, in a file or in a registry.
    Inspect(artifact::InspectArgs),
    /// Prints the digest of a plugin, in a file or in a registry.
    Digest(artifact::DigestArgs),
    /// Saves plugins with their signatures into one file, for sites without a network.
    Save(artifact::SaveArgs),
    /// Loads plugins from such a file into the folder of verified plugins.
    Load(artifact::LoadArgs),
}

const AFTER_HELP: &str = "\
Examples:
  berth plugin build target/wasm32-unknown-unknown/release/lz.wasm -o lz.wasm
  berth plugin build main.wasm -o lz.wasm --wit wit --world landing-zone --adapter null
  berth plugin build lz_core.wasm -o lz.wasm --name landing-zone --version 1.4.0 --licenses Apache-2.0

What --name to --homepage say is written into the plugin, and becomes the annotations of what `berth plugin push` pushes. For a module that
cargo built, what is not said is taken from its Cargo.toml.";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct BuildArgs {
    /// The core module, as a compiler wrote it.
    #[arg(value_name = "CORE.wasm")]
    core: PathBuf,
    /// Where the plugin is written.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// The folder with the WIT package, for a module that does not describe its world.
    #[arg(long, value_name = "DIR", requires = "world")]
    wit: Option<PathBuf>,
    /// The module's world.
    #[arg(long, value_name = "NAME", requires = "wit")]
    world: Option<String>,
    /// What answers WASI preview 1: `none`, `null` (nothing is there), or an adapter module.
    #[arg(long, value_name = "none|null|FILE", default_value = "none")]
    adapter: String,
    #[command(flatten)]
    about: About,
}

/// What a plugin says of itself.
#[derive(Debug, Clone, Args)]
struct About {
    /// What the plugin is called.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Its version.
    #[arg(long, value_name = "TEXT")]
    version: Option<String>,
    /// What it does, in one line.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who made it.
    #[arg(long, value_name = "TEXT")]
    authors: Option<String>,
    /// Its licences, as an SPDX expression.
    #[arg(long, value_name = "SPDX")]
    licenses: Option<String>,
    /// Where its source is.
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Where there is more to read.
    #[arg(long, value_name = "URL")]
    homepage: Option<String>,
}

pub(super) fn run(command: PluginCommand) -> Result<ExitCode, Failure> {
    match command {
        PluginCommand::Build(args) => build(&args),
        PluginCommand::Status(args) => super::status::run(&args),
        PluginCommand::Push(args) => artifact::push(&args),
        PluginCommand::Pull(args) => artifact::pull(&args),
        PluginCommand::Sign(args) => artifact::sign(&args),
        PluginCommand::Verify(args) => artifact::verify(&args),
        PluginCommand::Inspect(args) => artifact::inspect(&args),
        PluginCommand::Digest(args) => artifact::digest(&args),
        PluginCommand::Save(args) => artifact::save(&args),
        PluginCommand::Load(args) => artifact::load(&args),
    }
}

fn build(args: &BuildArgs) -> Result<ExitCode, Failure> {
    let core = read(&args.core)?;
    let module;
    let adapter = match args.adapter.as_str() {
        "none" => Adapter::None,
        "null" => Adapter::Null,
        file => {
            module = read(Path::new(file))?;
            Adapter::Module(&module)
        }
    };
    let wit = args.wit.as_deref().zip(args.world.as_deref());
    let component = componentize(&core, &Options { wit, adapter })
        .with_context(|| format!("cannot make a plugin of `{}`", args.core.display()))?;
    let component = describe(&component, &about(args)?).context("cannot write into the plugin what it is")?;
    std::fs::write(&args.output, &component).with_context(|| format!("cannot write `{}`", args.output.display()))?;
    print(&format!(
        "sha256:{}  {}\n",
        hex::encode(Sha256::digest(&component)),
        args.output.display()
    ))
}

/// What the plugin is to say of itself: what was said here, then what cargo knows.
fn about(args: &BuildArgs) -> anyhow::Result<Metadata> {
    let said = args.about.clone();
    let said = Metadata {
        name: said.name,
        version: said.version,
        description: said.description,
        authors: said.authors,
        licenses: said.licenses,
        source: said.source,
        homepage: said.homepage,
    };
    let known = of_cargo(&args.core).with_context(|| {
        format!(
            "cannot read what the package of `{}` says of itself",
            args.core.display()
        )
    })?;
    Ok(said.or(known.unwrap_or_default()))
}

/// What the package says that a module was built from: by the nearest `Cargo.toml` above it, if there is one.
fn of_cargo(module: &Path) -> anyhow::Result<Option<Metadata>> {
    let module = module.canonicalize()?;
    let mut folders = module.ancestors().skip(1);
    let manifest = folders.find_map(|folder| Some(folder.join("Cargo.toml")).filter(|file| file.is_file()));
    let (Some(manifest), Some(library)) = (manifest, module.file_stem().and_then(|stem| stem.to_str())) else {
        return Ok(None);
    };
    let told = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
            "--manifest-path",
        ])
        .arg(&manifest)
        .stdin(Stdio::null())
        .output();
    let told = match told {
        // The module was brought here from elsewhere.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        told => told.context("cannot run cargo")?,
    };
    if !told.status.success() {
        let why = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        bail!("cargo cannot read `{}`: {why}", manifest.display());
    }
    Ok(Metadata::of_cargo(&String::from_utf8(told.stdout)?, library)?)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}
