//! Looks for what is wrong between here and a plugin, step by step.

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::Access;
use crate::registry::{
    Allow, Error, chain,
    layout::{Layout, MAX_CONFIG, MAX_MANIFEST},
    reference::{At, Digest, Reference, Repository},
    remote::{Fault, Remote},
    session::authority,
    signature::{self, Policy},
};

/// How long name resolution and a connection may take each.
const PATIENCE: Duration = Duration::from_secs(10);

/// One step of the examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What was looked at, in a few words.
    pub name: &'static str,
    /// What was found.
    pub finding: Finding,
}

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is well.
    Good(String),
    /// It is not.
    Bad {
        /// What is wrong.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// It was not looked at.
    Skipped(&'static str),
}

/// All steps, in order.
const STEPS: [&str; 7] = [
    "name resolution",
    "connection",
    "TLS",
    "log-in",
    "manifest",
    "layout",
    "signatures",
];

/// Looks at everything between here and the plugin that `reference` names. The steps after one
/// that failed are skipped, since they need it.
///
/// Where repositories are listed from which plugins may come, a step about that list is the first. Where mirrors stand
/// in for the registry, the next is about them, and the others look at the mirror that has the plugin, or at the
/// registry itself.
pub async fn examine(access: &Access, reference: &Reference, allow: &[Allow], policy: &Policy, max: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let (mirrors, repository) = mirror(access, reference).await;
    let at = Reference {
        repository,
        ..reference.clone()
    };
    let failed = look(access, &at, reference, policy, max, &mut steps).await.is_err();
    for name in &STEPS[steps.len()..] {
        let finding = Finding::Skipped(if failed {
            "a step before it failed"
        } else {
            "not needed"
        });
        steps.push(Step { name, finding });
    }
    steps.splice(0..0, allowed(allow, &reference.repository).into_iter().chain(mirrors));
    steps
}

/// Whether a host with this list loads from the repository; none without a list. What is found at the registry counts
/// all the same, for whoever wants to list it.
fn allowed(allow: &[Allow], repository: &Repository) -> Option<Step> {
    if allow.is_empty() {
        return None;
    }
    let finding = match allow.iter().find(|line| line.covers(repository)) {
        Some(line) => Finding::Good(format!("`{line}` in `registries.allow` covers `{repository}`")),
        None => Finding::Bad {
            problem: chain(&Error::NotAllowed(repository.clone())),
            advice: format!("add `{repository}` to `registries.allow`: a host refuses it until then (NotAllowed)"),
        },
    };
    Some(Step {
        name: "allow-list",
        finding,
    })
}

/// Which repository is looked at, and what is to be said of mirrors, if there are any.
async fn mirror(access: &Access, reference: &Reference) -> (Option<Step>, Repository) {
    let own = &reference.repository;
    let step = |finding| {
        Some(Step {
            name: "mirrors",
            finding,
        })
    };
    let mirrors = access.mirrors(own);
    if mirrors.is_empty() {
        return (None, own.clone());
    }
    let mut problems = Vec::new();
    let mut advices = Vec::new();
    for mirror in mirrors {
        let asked = match access.session(&mirror.registry) {
            Ok(session) => session.manifest(&mirror, &reference.at(), MAX_MANIFEST).await,
            Err(fault) => Err(fault),
        };
        match asked {
            Ok(_) => {
                let also: String = problems.iter().map(|problem| format!("; {problem}")).collect();
                let told = format!("`{mirror}` stands in for `{own}`, and the steps below look at it{also}");
                return (step(Finding::Good(told)), mirror);
            }
            // It need not have everything.
            Err(Fault::NotFound { .. }) => {}
            Err(fault) => {
                problems.push(format!("`{mirror}` cannot be used: {}", chain(&fault)));
                advices.push(advice(&fault));
            }
        }
    }
    let finding = match advices.first() {
        None => Finding::Skipped("no mirror has it"),
        Some(advice) => Finding::Bad {
            problem: problems.join("; "),
            advice: format!("mend the mirror, or take it out of `registries.mirrors`: {advice}"),
        },
    };
    (step(finding), own.clone())
}

/// A step failed; it is noted.
struct Failed;

fn good(steps: &mut Vec<Step>, found: String) {
    note(steps, Finding::Good(found));
}

fn note(steps: &mut Vec<Step>, finding: Finding) {
    if let Some(name) = STEPS.get(steps.len()) {
        steps.push(Step { name, finding });
    }
}

fn bad<T>(steps: &mut Vec<Step>, problem: String, advice: &str) -> Result<T, Failed> {
    let advice = advice.to_owned();
    note(steps, Finding::Bad { problem, advice });
    Err(Failed)
}

async fn look(
    access: &Access,
    reference: &Reference,
    asked_for: &Reference,
    policy: &Policy,
    max: u64,
    steps: &mut Vec<Step>,
) -> Result<(), Failed> {
    let repository = &reference.repository;
    let settings = access.settings();
    let session = match access.session(&repository.registry) {
        Ok(session) => session,
        Err(fault) => return bad(steps, chain(&fault), advice(&fault)),
    };
    let proxied = settings.proxy.as_ref().map(|proxy| proxy.url.clone());
    let through = proxied.is_some();
    let address = proxied.unwrap_or_else(|| session.base().clone());
    connection(&address, through, steps).await?;

    let secure = session.base().scheme() == "https";
    if !secure {
        note(steps, Finding::Skipped("the registry is listed as insecure"));
    }
    match session.greet(repository).await {
        // It passed TLS.
        Ok(()) if secure => good(steps, "the certificate is trusted".to_owned()),
        Ok(()) => {}
        Err(fault) => {
            let reached = !matches!(
                fault,
                Fault::Tls { .. } | Fault::Unreachable { .. } | Fault::TimedOut { .. }
            );
            if secure && reached {
                good(steps, "the certificate is trusted".to_owned());
            }
            return bad(steps, chain(&fault), advice(&fault));
        }
    }
    good(steps, format!("`{}` lets us in", repository.registry));

    let remote: &dyn Remote = session.as_ref();
    let digest = manifest(remote, reference, steps).await?;
    layout(remote, reference, &digest, max, steps).await?;
    // Signatures may lie beside the plugin where its mirror has none.
    let signed = &asked_for.repository;
    let remote = match access.open(&signed.registry) {
        Ok(remote) => remote,
        Err(fault) => return bad(steps, chain(&fault), advice(&fault)),
    };
    let mut found = signature::find(remote.as_ref(), signed, &digest).await;
    if let Some(origin) = remote.behind_mirrors(signed)
        && signature::verify(policy, &digest, &found.attachments).is_err()
    {
        found = signature::find(origin.as_ref(), signed, &digest).await;
    }
    match (signature::verify(policy, &digest, &found.attachments), found.missed) {
        (Err(_), Some(fault)) => bad(steps, chain(&fault), advice(&fault)),
        (Err(refusal), None) => bad(steps, chain(&refusal), refusal.advice()),
        (Ok(_), _) if !policy.is_enforced() => {
            let count = found.attachments.len();
            good(steps, format!("not demanded, since nobody is trusted; {count} found"));
            Ok(())
        }
        (Ok(by), _) => {
            good(steps, format!("signed by {}", by.join(", ")));
            Ok(())
        }
    }
}

async fn connection(address: &Url, through: bool, steps: &mut Vec<Step>) -> Result<(), Failed> {
    let name = authority(address);
    let host = address.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = address.port_or_known_default().unwrap_or(443);
    let what = if through { "proxy" } else { "registry" };
    let addresses: Vec<_> = match tokio::time::timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let problem = format!("the {what} `{name}` has no address: {error}");
            return bad(
                steps,
                problem,
                "check its name, and the name servers of this machine or pod",
            );
        }
        Err(_) => {
            let problem = format!("the name servers did not answer for `{name}` within {PATIENCE:?}");
            return bad(
                steps,
                problem,
                "check the name servers, and the network policies on the way to them",
            );
        }
    };
    let told: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    good(steps, format!("the {what} `{host}` is {}", told.join(", ")));
    match tokio::time::timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => {
            good(steps, format!("the {what} takes connections at port {port}"));
            Ok(())
        }
        Ok(Err(error)) => bad(
            steps,
            format!("no connection to the {what} at `{name}`, port {port}: {error}"),
            "check its port, firewalls and network policies; behind a proxy, set `registries.proxy`",
        ),
        Err(_) => bad(
            steps,
            format!("no connection to the {what} at `{name}`, port {port}, within {PATIENCE:?}"),
            "something drops packets: check firewalls and network policies; behind a proxy, set `registries.proxy`",
        ),
    }
}

async fn manifest(remote: &dyn Remote, reference: &Reference, steps: &mut Vec<Step>) -> Result<Digest, Failed> {
    let at = reference.at();
    match remote.manifest(&reference.repository, &at, MAX_MANIFEST).await {
        Ok(manifest) => {
            let told = format!("`{at}` is {}, {} bytes", manifest.digest, manifest.bytes.len());
            good(steps, told);
            Ok(manifest.digest)
        }
        Err(fault) => bad(steps, chain(&fault), advice(&fault)),
    }
}

async fn layout(
    remote: &dyn Remote,
    reference: &Reference,
    digest: &Digest,
    max: u64,
    steps: &mut Vec<Step>,
) -> Result<(), Failed> {
    const REPACK: &str = "push the component again with `berth plugin push`";
    let repository = &reference.repository;
    let read = async {
        let at = At::Digest(digest.clone());
        let manifest = remote
            .manifest(repository, &at, MAX_MANIFEST)
            .await
            .map_err(Wrong::Fault)?;
        let layout = Layout::read(&manifest.media_type, &manifest.bytes, max).map_err(Wrong::layout)?;
        let config = match &layout.config {
            Some(config) => remote
                .blob(repository, &config.digest, MAX_CONFIG)
                .await
                .map_err(Wrong::Fault)?,
            None => Vec::new(),
        };
        let declared = layout.declared(&config).map_err(Wrong::layout)?;
        let layer = remote
            .blob(repository, &layout.layer.digest, max)
            .await
            .map_err(Wrong::Fault)?;
        let component = layout.component(&declared, &layer).map_err(Wrong::layout)?;
        let worlds: Vec<String> = component.worlds().into_iter().collect();
        Ok(format!(
            "a component of {} bytes for {}",
            layer.len(),
            worlds.join(", ")
        ))
    };
    match read.await {
        Ok(told) => {
            good(steps, told);
            Ok(())
        }
        Err(Wrong::Fault(fault)) => bad(steps, chain(&fault), advice(&fault)),
        Err(Wrong::Layout(problem)) => bad(steps, problem, REPACK),
    }
}

enum Wrong {
    Fault(Fault),
    Layout(String),
}

impl Wrong {
    #[allow(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
    fn layout(error: crate::registry::layout::LayoutError) -> Self {
        Self::Layout(chain(&error))
    }
}

/// What to do about a fault.
#[must_use]
pub fn advice(fault: &Fault) -> &'static str {
    match fault {
        Fault::NotFound { .. } => {
            "check the path and the tag; some registries say so too where credentials do not suffice"
        }
        Fault::Unauthorized { .. } => {
            "add the registry to docker's config.json (`docker login`) or the pull secret, and name that file in `registries.dockerConfig`"
        }
        Fault::Forbidden { .. } => "give the account the right to pull from this repository",
        Fault::RateLimited { .. } => "wait, log in, or add a mirror in `registries.mirrors`",
        Fault::Unreachable { .. } => {
            "check that a registry is there; one without TLS must be listed in `registries.insecure`"
        }
        Fault::TimedOut { .. } => {
            "something takes the connection and does not answer: look at the registry's own health"
        }
        Fault::Tls { .. } => {
            "name the authority's certificate in `registries.caFile` or `registries.perRegistry`; one that asks for a client certificate needs `clientCertificate` and `clientKey`; one without TLS must be listed in `registries.insecure`"
        }
        Fault::Failed { .. } | Fault::Busy { .. } => "look at the registry's own log",
        Fault::Refused { .. } => "the registry does not do what is asked for: look at what it says, and at its version",
        Fault::TooLarge { .. } => "raise `registries.maxSize` if the plugin is meant to be so large",
        Fault::Truncated { .. } => "a proxy or the registry cuts answers short: look at their time limits",
        Fault::DigestMismatch { .. } => {
            "do not use it: what comes is not what was asked for. Look for a proxy that changes it, or push again"
        }
        Fault::RedirectLoop { .. } | Fault::BadRedirect { .. } => {
            "look at where the registry's storage redirects to; plain HTTP is followed to registries in `registries.insecure` only"
        }
        Fault::Malformed { .. } => "check that the address is a registry's, and not a web site's",
        Fault::ListKept { .. } => {
            "look at what the registry has under that tag: remove it if it is no list of referrers, or the entries that nobody needs"
        }
        Fault::Misconfigured { .. } => "mend what is named, in `berth.yaml` or the file",
    }
}
