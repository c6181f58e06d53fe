//! `berth adapter purge`.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    slice,
};

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::json;

use super::{
    Failure, Output,
    admin::{AdminArgs, Told},
    list, print,
};
use crate::{
    cluster,
    config::{document, host::HostLimits},
    live::purge::{self, Found, Leftovers},
    telemetry::admin::{AdapterState, Standing},
};

const AFTER_HELP: &str = "\
The host is asked whether the adapter is live, and what it could create. The objects are listed and
deleted with your own kubeconfig: you need the right to list them, and to impersonate the
adapter's service account, as which they are deleted.

Examples:
  berth adapter purge dns                                Show what is left, ask, and delete it
  berth adapter purge dns --document old/dns.yaml        For a host that has been restarted since
  berth adapter purge dns --document a.yaml --document b.yaml   What several of its documents could create
  berth adapter purge dns --document dns.yaml --offline  Where no host runs any more
  berth adapter purge dns --yes --output json

Exit codes:
  0   all that was found is deleted, or nothing was found
  1   the adapter is live, or something could not be deleted
  64  the document is wrong";

/// Whose objects are deleted.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(in crate::cli) struct PurgeArgs {
    /// The adapter.
    #[arg(value_name = "NAME")]
    name: String,
    /// Its last document, for a host that does not remember it. Again for each earlier one that permitted other kinds.
    #[arg(long, value_name = "FILE")]
    document: Vec<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
    /// Does not ask a host whether the adapter is live.
    #[arg(long, requires = "document")]
    offline: bool,
    /// The kubeconfig file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Does not ask before it deletes.
    #[arg(long)]
    yes: bool,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

pub(super) fn run(args: &PurgeArgs) -> Result<ExitCode, Failure> {
    let known = if args.offline { None } else { known(args)? };
    let leftovers = match args.document.as_slice() {
        [] => of_host(args, known)?,
        files => of_documents(files, &args.name)?,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    runtime.block_on(purge(args, &leftovers))
}

/// What a running host knows of the adapter; a failure where it is wanted there.
fn known(args: &PurgeArgs) -> Result<Option<AdapterState>, Failure> {
    let told = args.admin.get::<AdapterState>(&format!("adapters/{}", args.name));
    let told = told.map_err(|failure| match (args.document.is_empty(), failure) {
        (false, Failure::Other { error, .. }) => {
            Failure::from(error).with_hint("name the host with --admin, or pass --offline if none runs any more")
        }
        (_, failure) => failure,
    })?;
    let Told::Answer(known) = told else { return Ok(None) };
    if known.state == Standing::Removed {
        return Ok(Some(known));
    }
    let file = known.file.unwrap_or_default();
    let error = anyhow!(
        "the adapter `{}` is {} and wanted by {file}",
        args.name,
        known.state.name()
    );
    Err(Failure::from(error).with_hint("take its document away first; then its objects can be purged"))
}

fn of_host(args: &PurgeArgs, known: Option<AdapterState>) -> Result<Leftovers, Failure> {
    let Some(AdapterState {
        name,
        namespace: Some(namespace),
        service_account: Some(service_account),
        kinds,
        ..
    }) = known
    else {
        let error = anyhow!("the host does not remember an adapter `{}`", args.name);
        return Err(Failure::from(error).with_hint("pass its last document with --document"));
    };
    Ok(Leftovers {
        adapter: name,
        namespace,
        service_account,
        kinds: kinds.into_iter().map(Into::into).collect(),
    })
}

/// By its documents; the first says as whom objects are deleted.
fn of_documents(files: &[PathBuf], name: &str) -> Result<Leftovers, Failure> {
    let mut leftovers: Option<Leftovers> = None;
    for file in files {
        let loaded = document::load_files(slice::from_ref(file), &HostLimits::default_caps()).strict()?;
        let found = loaded.iter().find(|one| one.adapter.name == name);
        let found = found.ok_or_else(|| anyhow!("{} has no adapter `{name}`", file.display()))?;
        match &mut leftovers {
            Some(leftovers) => leftovers.add(&found.adapter),
            None => leftovers = Some(Leftovers::of(&found.adapter)),
        }
    }
    Ok(leftovers.ok_or_else(|| anyhow!("no document of `{name}` was named"))?)
}

async fn purge(args: &PurgeArgs, leftovers: &Leftovers) -> Result<ExitCode, Failure> {
    let settings = cluster::Settings {
        kubeconfig: args.kubeconfig.clone(),
        context: args.context.clone(),
        ..cluster::Settings::default()
    };
    let kubernetes = cluster::Kubernetes::connect(settings)
        .await
        .map_err(anyhow::Error::new)?;
    let found = purge::find(kubernetes.as_ref(), leftovers)
        .await
        .map_err(|fault| anyhow::Error::new(fault).context("cannot list what is left"))?;
    if !found.delete.is_empty() && !args.yes {
        confirm(&found)?;
    }
    let mut lines = Vec::new();
    let mut failures = 0;
    for object in &found.delete {
        let (result, message) = match purge::delete(kubernetes.as_ref(), leftovers, object).await {
            Ok(()) => ("deleted", None),
            Err(error) => {
                failures += 1;
                ("failed", Some(error.to_string()))
            }
        };
        lines.push((&object.reference, result, message));
    }
    lines.extend(found.leaving.iter().map(|one| (one, "leaving", None)));
    lines.extend(found.retained.iter().map(|one| (one, "kept", None)));
    let text = match args.output {
        Output::Text => lines
            .iter()
            .map(|(reference, result, message)| match message {
                Some(message) => format!("{reference} {result}: {message}\n"),
                None => format!("{reference} {result}\n"),
            })
            .collect(),
        Output::Json => {
            let objects: Vec<_> = lines
                .iter()
                .map(|(reference, result, message)| json!({"object": reference, "result": result, "message": message}))
                .collect();
            list::json(&json!({"adapter": leftovers.adapter, "objects": objects}))?
        }
    };
    let printed = print(&text)?;
    if failures > 0 {
        return Err(anyhow!("{failures} of {} objects could not be deleted", found.delete.len()).into());
    }
    Ok(printed)
}

/// Shows what is deleted and asks.
fn confirm(found: &Found) -> Result<(), Failure> {
    let mut stderr = anstream::stderr().lock();
    let mut text = String::from("These objects will be deleted:\n");
    for object in &found.delete {
        text.push_str(&format!("  {}\n", object.reference));
    }
    stderr.write_all(text.as_bytes()).context("cannot ask")?;
    if !std::io::stdin().is_terminal() {
        let error = anyhow!("nobody is there to be asked");
        return Err(Failure::from(error).with_hint("pass --yes to delete them without being asked"));
    }
    stderr
        .write_all(b"Delete them? [y/N] ")
        .and_then(|()| stderr.flush())
        .context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(anyhow!("nothing was deleted").into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn several_documents_of_an_adapter_together_say_what_it_could_create() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, account: &str, kinds: &str| {
            let path = folder.path().join(name);
            let text = format!(
                "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {{name: dns}}\nspec: \
                 {{subjects: [Cluster], namespace: work, serviceAccount: {account}, permits: [{kinds}]}}\n"
            );
            std::fs::write(&path, text).unwrap();
            path
        };
        let files = [
            file("new.yaml", "new", "{apiVersion: v1, kind: Secret}"),
            file(
                "old.yaml",
                "old",
                "{apiVersion: v1, kind: Secret}, {apiVersion: v1, kind: Service}",
            ),
        ];
        let leftovers = of_documents(&files, "dns").map_err(|_| "refused").unwrap();
        assert_eq!(leftovers.service_account, "new");
        let kinds: Vec<_> = leftovers.kinds.iter().map(|one| one.kind.as_str()).collect();
        assert_eq!(kinds, ["Secret", "Service"]);
        assert!(of_documents(&files, "other").is_err());
    }
}
