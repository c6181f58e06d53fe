//! RabbitMQ for the tests, which start it themselves: Debian's package, installed where it is missing.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    cleanroom::{program, read, run},
    progress::say,
};

/// What the tests start.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const PACKAGE: &str = "rabbitmq-server";

/// Installs it, if it is missing and that is ours to do.
///
/// # Errors
/// Says what to install, when it can not.
pub(crate) fn ensure(root: &Path) -> Result<()> {
    if Path::new(PROGRAM).is_file() {
        return Ok(());
    }
    let by_hand = format!("the tests need RabbitMQ: install the Debian package `{PACKAGE}`, so that {PROGRAM} exists");
    if read(program("apt-get", root).arg("--version")).is_err() {
        bail!("{by_hand}");
    }
    if read(program("id", root).arg("-u"))?.trim() != "0" {
        bail!("{by_hand}; only root can install it");
    }
    say(&format!(
        "tools: the tests need RabbitMQ, so the Debian package {PACKAGE} is installed now"
    ));
    let apt = || {
        let mut command = program("apt-get", root);
        // The package would start a service of its own, which nobody needs.
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .arg("-qq");
        command
    };
    run(apt().arg("update"))?;
    run(apt().args(["install", "--yes", "--no-install-recommends", PACKAGE]))?;
    if !Path::new(PROGRAM).is_file() {
        bail!("the package {PACKAGE} was installed, but {PROGRAM} is missing");
    }
    Ok(())
}
