//! `berth adapter check`.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use berth_engine::adapter::Source;
use clap::Args;

use super::{Failure, print};
use crate::{
    config::{
        document::{self, Loading},
        host::HostLimits,
    },
    live,
};

const AFTER_HELP: &str = "\
Examples:
  berth adapter check landing-zone.yaml
  berth adapter check adapters/
  berth adapter check adapters/ --plugins       Load their plugins too, and try each once

Exit codes:
  0   every document is good
  64  a document is wrong";

/// Which documents are checked.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub struct CheckArgs {
    /// Files, or folders of which all *.yaml files are checked.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Loads plugins that are files, has them check their configuration, and asks each once on
    /// made-up facts. Expressions and templates are compiled. Registries are not asked.
    #[arg(long)]
    pub plugins: bool,
}

impl CheckArgs {
    /// Reads the documents and checks them together.
    #[must_use]
    pub fn load(&self) -> Loading {
        document::load_paths(&self.files, &HostLimits::default_caps())
    }
}

pub(super) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let loading = args.load();
    if !args.plugins {
        return report(loading);
    }
    tell_untried(&loading);
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    report(runtime.block_on(live::check(loading))?)
}

/// Says which plugins were not tried, so that nobody takes them for checked.
fn tell_untried(loading: &Loading) {
    let mut text = String::new();
    for loaded in &loading.adapters {
        for (name, plugin) in &loaded.adapter.plugins {
            if let Source::Oci(reference) = &plugin.source {
                let adapter = &loaded.adapter.name;
                text.push_str(&format!(
                    "{adapter}: the plugin `{name}` is not fetched and not tried: oci://{reference}\n"
                ));
            }
        }
    }
    // Where stderr is gone, there is nobody left to tell.
    drop(anstream::stderr().lock().write_all(text.as_bytes()));
}

/// Tells which documents are good, or all that is wrong.
///
/// # Errors
/// When there is any problem.
pub fn report(loading: Loading) -> Result<ExitCode, Failure> {
    let loaded = loading.strict()?;
    let lines: String = loaded
        .iter()
        .map(|loaded| format!("{}: ok ({})\n", loaded.adapter.name, loaded.origin.file().display()))
        .collect();
    print(&lines)
}
