//! Executes the effects of one reconcile, one after the other.
//!
//! The only place where an [`Effect`] meets the world: production, the demo, a dry run and
//! the tests all come through here. It decides nothing.

use std::time::Duration;

use berth_engine::{
    adapter::Adapter,
    contract::HttpAction,
    effect::{Answer, Effect, FleetFault},
    reconcile::{Input, Outcome, Reconcile, Step},
};
use berth_runtime::{
    Kept,
    grants::{self, Substitutions},
    hosts::{HttpQuestion, HttpRefusal},
};

use crate::world::{Identity, Plugins, World};

/// How long an action on another server may take.
const ACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How large its answer may be, in bytes.
const ACTION_ANSWER: usize = 1 << 20;

/// Runs a reconcile to its end. `seen` is told every effect with its answer, in order:
/// the transcript.
pub async fn drive(
    input: Input,
    world: &World,
    plugins: &dyn Plugins,
    seen: &mut (dyn FnMut(&Effect, &Answer) + Send),
) -> Outcome {
    let adapter = std::sync::Arc::clone(&input.adapter);
    let identity = identity(&adapter);
    let mut reconcile = Reconcile::new(input);
    let mut answer = None;
    let mut known = None;
    let mut kept = Kept::default();
    loop {
        match reconcile.next(answer.take()) {
            Step::Done(outcome) => return outcome,
            Step::Do(effect) => {
                match &effect {
                    Effect::Ask { question, .. } => {
                        known.get_or_insert_with(|| Substitutions::of(question.facts()));
                    }
                    // What the host does may take seconds, and others wait for the instance's place.
                    _ => kept = Kept::default(),
                }
                let given = execute(&effect, &adapter, &identity, known.as_ref(), world, plugins, &mut kept).await;
                seen(&effect, &given);
                answer = Some(given);
            }
        }
    }
}

/// As whom an adapter's writes and granted reads are made.
#[must_use]
pub fn identity(adapter: &Adapter) -> Identity {
    Identity {
        namespace: adapter.namespace.clone(),
        service_account: adapter.service_account.clone(),
    }
}

async fn execute(
    effect: &Effect,
    adapter: &Adapter,
    identity: &Identity,
    known: Option<&Substitutions>,
    world: &World,
    plugins: &dyn Plugins,
    kept: &mut Kept,
) -> Answer {
    let World { fleet, cluster, .. } = world;
    match effect {
        Effect::Fetch { path } => Answer::Fetched(fleet.get(path).await),
        Effect::Statuses { path } => Answer::Statuses(fleet.statuses(path).await),
        Effect::Ask { plugin, question } => Answer::Said(plugins.ask(plugin, question, kept).await.map(Box::new)),
        Effect::Observe(ownership) => Answer::Observed(cluster.observe(ownership).await),
        Effect::Find(query) => Answer::Found(cluster.find(identity, query).await),
        Effect::Apply(apply) => Answer::Applied(cluster.apply(identity, apply).await.map(Box::new)),
        Effect::Delete(delete) => Answer::Deleted(cluster.delete(identity, delete).await),
        Effect::Report { path, report } => Answer::Reported(fleet.report(path, report).await),
        Effect::Act { plugin, action } => Answer::Acted(act(adapter, known, plugin, action, world).await),
    }
}

/// Makes a call that a plugin asked for in the status phase, if it is granted it.
async fn act(
    adapter: &Adapter,
    known: Option<&Substitutions>,
    plugin: &str,
    action: &HttpAction,
    world: &World,
) -> Result<(), FleetFault> {
    let refused = |message: String| FleetFault::Rejected { status: 403, message };
    let Some(known) = known else {
        return Err(refused(format!("action `{}` came from no plugin", action.name)));
    };
    let Some(asking) = adapter.plugins.get(plugin) else {
        return Err(refused(format!("action `{}` came from no plugin", action.name)));
    };
    let action = grants::action(&asking.grants, known, action.clone()).map_err(|grants::Denied(why)| refused(why))?;
    let (status, detail) = send(&action, world).await?;
    if (200..300).contains(&status) {
        Ok(())
    } else {
        Err(FleetFault::Rejected {
            status,
            message: format!("{}: {detail}", action.name),
        })
    }
}

async fn send(action: &HttpAction, world: &World) -> Result<(u16, String), FleetFault> {
    if action.url.starts_with('/') {
        let (status, body) = world.fleet.send(action).await?;
        let detail = body
            .get("detail")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        return Ok((status, detail.to_owned()));
    }
    let refused = |message: String| FleetFault::Rejected { status: 400, message };
    let question = HttpQuestion {
        method: action.method.clone(),
        url: action
            .url
            .parse()
            .map_err(|error| refused(format!("`{}`: {error}", action.url)))?,
        headers: action.headers.clone(),
        body: action.body.clone().map(String::into_bytes),
        timeout: ACTION_TIMEOUT,
        max_body: ACTION_ANSWER,
    };
    match world.web.send(&question).await {
        Ok(answer) => Ok((answer.status, String::new())),
        Err(HttpRefusal::Unavailable(message)) => Err(FleetFault::Unreachable {
            message,
            retry_after: None,
        }),
        Err(HttpRefusal::TooLarge) => Err(refused("the answer is too large".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

    use std::{path::Path, sync::Arc};

    use super::*;
    use crate::{
        config::{document, host::HostLimits},
        fleet, simulate, web,
    };

    const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: two}
spec:
  subjects: [Cluster]
  namespace: work
  permits: [{apiVersion: batch/v1, kind: Job}]
  plugins:
    poor: {source: 'file:poor.wasm'}
    rich:
      source: 'file:rich.wasm'
      grants: {actions: [{methods: [DELETE], url: '/api/hyperfleet/v1/clusters/*'}]}
  preconditions: [{plugin: poor}]
  status: {plugin: rich}
";

    async fn act_as(plugin: &str) -> Result<(), FleetFault> {
        let caps = HostLimits::default_caps();
        let loaded = document::parse(Path::new("two.yaml"), DOCUMENT, &caps)
            .strict()
            .unwrap();
        let adapter = &loaded[0].adapter;
        let clock = Arc::new(fleet::SystemClock::new());
        let simulation = simulate::fleet::Simulation::new(simulate::fleet::FleetState::new(&["two"], &[]), clock);
        let created = simulation.with(|state, now| {
            let spec = serde_json::json!({});
            state.create(now, simulate::fleet::Kind::Cluster, None, "victim", &spec)
        });
        let href = created.expect("the API creates it")["href"]
            .as_str()
            .unwrap()
            .to_owned();
        let settings = fleet::Settings::new("http://127.0.0.1:1".parse().unwrap());
        let world = World {
            fleet: Arc::new(simulate::fleet::InMemory::new(&simulation, &settings).unwrap()),
            cluster: Arc::new(simulate::cluster::Kubernetes::new(simulate::cluster::SystemClock)),
            web: Arc::new(web::Client::new().unwrap()),
        };
        let action = HttpAction {
            name: "remove".into(),
            method: "DELETE".into(),
            url: href,
            headers: Vec::new(),
            body: None,
        };
        act(adapter, Some(&Substitutions::default()), plugin, &action, &world).await
    }

    #[tokio::test]
    async fn an_action_needs_a_grant_of_the_plugin_that_asked_for_it() {
        assert_eq!(act_as("rich").await, Ok(()));
        let refused = act_as("poor").await;
        assert!(
            matches!(refused, Err(FleetFault::Rejected { status: 403, .. })),
            "{refused:?}"
        );
    }
}
