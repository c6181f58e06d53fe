//! `berth plugin`: `build` is here, what talks to registries is in [`artifact`](super::artifact).

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use berth_componentize::{Adapter, Options, componentize};
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
  berth plugin build main.wasm -o lz.wasm --wit wit --world landing-zone --adapter null";

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
    std::fs::write(&args.output, &component).with_context(|| format!("cannot write `{}`", args.output.display()))?;
    print(&format!(
        "sha256:{}  {}\n",
        hex::encode(Sha256::digest(&component)),
        args.output.display()
    ))
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))
}
