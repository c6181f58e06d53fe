//! One call: an instance, all limits, an answer or a cause, and nothing left behind.

use std::{ops::AsyncFnOnce, sync::Arc};

use berth_engine::{
    adapter::{Grants, Limits},
    contract::{Facts, PhaseAnswer, Question},
};
use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap, UpdateDeadline,
    component::{Instance, ResourceTable},
};

use crate::{
    again::Vary,
    convert::{from_guest, to_guest},
    error::{CallError, Cause, PrepareError},
    grants::Substitutions,
    hosts::{HostCalls, NoHost},
    journal::{About, Journal, LogLine},
    kept::{Kept, Warm},
    meter::Meter,
    plugin::Plugin,
    state::{Access, Memory, State, Violation},
    wasi::Wasi,
};

/// What a plugin has in an adapter, the same for all its calls until the document changes.
#[derive(Clone)]
pub struct CallContext {
    /// The plugin's name in the document.
    pub name: Arc<str>,
    /// The adapter.
    pub adapter: Arc<str>,
    /// The adapter's namespace.
    pub namespace: Arc<str>,
    /// The plugin's configuration, an object as JSON.
    pub config: Arc<str>,
    /// What [`Plugin::prepare`] returned.
    pub prepared: Arc<[u8]>,
    /// Variables granted to it, with their values.
    pub variables: Arc<[(String, String)]>,
    /// What a call may use.
    pub limits: Limits,
    /// What a call may ask for.
    pub grants: Arc<Grants>,
    /// What answers it.
    pub host: Arc<dyn HostCalls>,
    /// Whether one instance may answer calls that follow each other: only where the plugin is known to remember
    /// nothing.
    pub one_instance: bool,
    /// What its answers vary by, as [`Plugin::vary`] told; none asks every question.
    pub vary: Option<Vary>,
}

/// What a call gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The answer.
    pub answer: PhaseAnswer,
    /// Whether it was given before, and the plugin was not asked.
    pub again: bool,
    /// How much fuel it took.
    pub fuel_used: u64,
    /// What the guest logged and printed.
    pub log_lines: Vec<LogLine>,
    /// How many more lines there were.
    pub log_lines_dropped: u64,
}

impl Plugin {
    /// Checks and prepares a configuration, an object as JSON. Without `setup` there is
    /// nothing to do, and nothing is prepared.
    ///
    /// # Errors
    /// When the plugin refuses the configuration, or gives no answer.
    pub async fn prepare(&self, config: &str, limits: &Limits) -> Result<Vec<u8>, PrepareError> {
        let Some(setup) = &self.exports.setup else {
            return Ok(Vec::new());
        };
        let config = config.to_owned();
        let answer = self
            .at_load("setup", limits, async |store, instance| {
                setup
                    .load(&mut *store, instance)
                    .map_err(Misfit)?
                    .call_prepare(store, &config)
                    .await
            })
            .await;
        match answer.map_err(PrepareError::Call)? {
            Ok(prepared) => Ok(prepared),
            Err(problems) => Err(PrepareError::Problems(
                problems.into_iter().map(from_guest::problem).collect(),
            )),
        }
    }

    /// Asks what its answers vary by, with what [`Plugin::prepare`] returned; none where it does not say. What is given
    /// again by it belongs to one configuration with its grants and limits.
    ///
    /// # Errors
    /// When the plugin gives no answer.
    pub async fn vary(&self, prepared: &[u8], limits: &Limits) -> Result<Option<Vary>, Cause> {
        let Some(vary) = &self.exports.vary else {
            return Ok(None);
        };
        let prepared = prepared.to_vec();
        let answer = self
            .at_load("vary", limits, async |store, instance| {
                vary.load(&mut *store, instance)
                    .map_err(Misfit)?
                    .call_by(store, &prepared)
                    .await
            })
            .await;
        answer.map(|by| Some(Vary::new(by)))
    }

    /// Runs `body` in a fresh instance for a call that is about no subject, and may ask nobody.
    async fn at_load<R>(
        &self,
        phase: &'static str,
        limits: &Limits,
        body: impl AsyncFnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<R>,
    ) -> Result<R, Cause> {
        let about = About {
            adapter: "".into(),
            plugin: self.digest.as_str().into(),
            phase,
            subject: String::new(),
        };
        let state = State {
            memory: Memory::new(limits),
            meter: Arc::new(Meter::new()),
            access: Access {
                grants: Arc::default(),
                known: Substitutions::default(),
                namespace: "".into(),
                host: Arc::new(NoHost),
                time_left: limits.host_time,
            },
            journal: Journal::new(about, limits.log_lines),
            output: limits.output,
            table: ResourceTable::new(),
            wasi: Wasi::new(0, 0, Arc::default()),
        };
        let (answer, _) = self.run(state, limits, &mut Kept::default(), false, body).await;
        answer
    }

    /// Asks a question, in a fresh instance; or gives an answer again, where [`CallContext::vary`] allows it.
    ///
    /// # Errors
    /// When there is no answer: the plugin fails, traps, runs into a limit, answers what
    /// cannot be used, or does not implement the phase.
    pub async fn call(&self, question: &Question, context: &CallContext) -> Result<Answered, CallError> {
        self.call_next(&mut Kept::default(), question, context).await
    }

    /// Asks a question as one of several that follow each other: in the instance that the one before left in `kept`,
    /// where [`CallContext::one_instance`] allows it, else in a fresh one.
    ///
    /// # Errors
    /// As [`Plugin::call`].
    pub async fn call_next(
        &self,
        kept: &mut Kept,
        question: &Question,
        context: &CallContext,
    ) -> Result<Answered, CallError> {
        let phase = question.phase();
        let key = context
            .vary
            .as_ref()
            .and_then(|vary| vary.key(question, &context.grants));
        if let Some(answer) = key.and_then(|key| self.answers.get(&key)) {
            return Ok(Answered {
                answer,
                again: true,
                fuel_used: 0,
                log_lines: Vec::new(),
                log_lines_dropped: 0,
            });
        }
        let state = self.state(question, context);
        let journal = state.journal.clone();
        let (answer, fuel_used) = self.ask(question, context, kept, state).await;
        let (log_lines, log_lines_dropped) = journal.finish();
        match answer {
            Ok(answer) => {
                // Who logs wants to be heard every time.
                if let Some(key) = key.filter(|_| log_lines.is_empty() && log_lines_dropped == 0) {
                    self.answers.put(key, &answer);
                }
                Ok(Answered {
                    answer,
                    again: false,
                    fuel_used,
                    log_lines,
                    log_lines_dropped,
                })
            }
            Err(cause) => {
                let plugin = context.name.clone();
                if let Cause::Trapped { trap, .. } = &cause {
                    tracing::debug!(adapter = %context.adapter, %plugin, phase = phase.name(), "{trap:?}");
                }
                Err(CallError {
                    plugin,
                    phase,
                    cause,
                    fuel_used,
                })
            }
        }
    }

    fn state(&self, question: &Question, context: &CallContext) -> State {
        let facts = question.facts();
        let limits = &context.limits;
        let about = About {
            adapter: context.adapter.clone(),
            plugin: context.name.clone(),
            phase: question.phase().name(),
            subject: facts.subject.key.to_string(),
        };
        State {
            memory: Memory::new(limits),
            meter: Arc::new(Meter::new()),
            access: Access {
                grants: context.grants.clone(),
                known: Substitutions::of(facts),
                namespace: context.namespace.clone(),
                host: context.host.clone(),
                time_left: limits.host_time,
            },
            journal: Journal::new(about, limits.log_lines),
            output: limits.output,
            table: ResourceTable::new(),
            wasi: Wasi::new(0, 0, context.variables.clone()),
        }
    }

    async fn ask(
        &self,
        question: &Question,
        context: &CallContext,
        kept: &mut Kept,
        mut state: State,
    ) -> (Result<PhaseAnswer, Cause>, u64) {
        let limits = &context.limits;
        let facts = to_guest::facts(question.facts(), context, &self.digest);
        if self.uses_wasi {
            state.wasi = Wasi::new(nanoseconds(question.facts()), facts.seed, context.variables.clone());
        }
        macro_rules! ask {
            ($interface:ident, $function:ident($($argument:expr),*)) => {{
                let Some(indices) = &self.exports.$interface else {
                    return (Err(Cause::Unavailable(format!("it does not export `{}`", stringify!($interface)))), 0);
                };
                let (answer, fuel) = self
                    .run(state, limits, kept, context.one_instance, async |store, instance| {
                        indices.load(&mut *store, instance).map_err(Misfit)?.$function(store, &facts, $($argument),*).await
                    })
                    .await;
                let answer = answer.and_then(|answer| match answer {
                    Ok(answer) => from_guest::$interface(answer),
                    Err(failure) => Err(Cause::Failed(from_guest::failure(failure))),
                });
                (answer, fuel)
            }};
        }
        match question {
            Question::Preconditions { .. } => ask!(preconditions, call_evaluate()),
            Question::Resources { objects, .. } => {
                let objects = to_guest::objects(objects);
                ask!(resources, call_plan_objects(&objects))
            }
            Question::Postconditions { objects, .. } => {
                let objects = to_guest::objects(objects);
                ask!(postconditions, call_evaluate(&objects))
            }
            Question::Status { objects, draft, .. } => {
                let objects = to_guest::objects(objects);
                let draft = to_guest::draft(draft);
                ask!(status, call_report(&objects, &draft))
            }
        }
    }

    /// Runs `body` under all limits; also says how much fuel it took. Only if `keeps`, in the instance that is kept and
    /// left there for the next.
    async fn run<R>(
        &self,
        mut state: State,
        limits: &Limits,
        kept: &mut Kept,
        keeps: bool,
        body: impl AsyncFnOnce(&mut Store<State>, &Instance) -> wasmtime::Result<R>,
    ) -> (Result<R, Cause>, u64) {
        let meter = state.meter.clone();
        // What waits and is not used is gone before a place is waited for: two could wait for each other's.
        let warm = kept.take(self).filter(|_| keeps);
        // Locals end in reverse order: the permit is held until the store is gone, as the pool has one slot per permit.
        let (permit, mut store, mut instance);
        match warm {
            Some(warm) => {
                permit = warm.permit;
                store = warm.store;
                instance = Some(warm.instance);
                state.memory = state.memory.with_used_of(&store.data().memory);
                *store.data_mut() = state;
            }
            None => {
                permit = match Arc::clone(&self.slots).acquire_owned().await {
                    Ok(permit) => permit,
                    Err(_) => return (Err(Cause::Unavailable("the runtime is shutting down".to_owned())), 0),
                };
                store = Store::new(self.instance.engine(), state);
                store.limiter(|state| &mut state.memory);
                instance = None;
            }
        }
        store.set_hostcall_fuel(limits.output);
        store.set_epoch_deadline(1);
        let deadline = limits.deadline;
        store.epoch_deadline_callback(move |store| {
            if store.data().meter.guest_time() >= deadline {
                return Err(Violation::Deadline.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        if let Err(error) = store.set_fuel(limits.fuel) {
            return (Err(Cause::Unavailable(format!("{error:#}"))), 0);
        }
        let answer = meter
            .inside(async {
                let instance = match &instance {
                    Some(instance) => instance,
                    None => instance.insert(self.instance.instantiate_async(&mut store).await?),
                };
                body(&mut store, instance).await
            })
            .await;
        let fuel_used = limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        match (answer, instance) {
            (Ok(answer), Some(instance)) => {
                if keeps {
                    kept.put(Warm {
                        code: self.code(),
                        store,
                        instance,
                        permit,
                    });
                }
                (Ok(answer), fuel_used)
            }
            (answer, instance) => (
                answer.map_err(|error| cause(error, limits, instance.is_some())),
                fuel_used,
            ),
        }
    }
}

fn nanoseconds(facts: &Facts) -> u64 {
    facts
        .now
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|now| u64::try_from(now.as_nanosecond()).ok())
        .unwrap_or_default()
}

/// What an error of a call means.
fn cause(error: wasmtime::Error, limits: &Limits, started: bool) -> Cause {
    if let Some(violation) = error.downcast_ref::<Violation>() {
        return match violation {
            Violation::Deadline => Cause::DeadlineExceeded { limit: limits.deadline },
            Violation::HostTime => Cause::HostTimeExceeded {
                limit: limits.host_time,
            },
            Violation::Memory => Cause::MemoryExceeded { limit: limits.memory },
        };
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Cause::FuelExhausted { limit: limits.fuel },
        Some(Trap::StackOverflow) => return Cause::StackOverflow,
        Some(trap) => {
            let text = trap.to_string();
            let summary = text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned();
            return Cause::Trapped { summary, trap: error };
        }
        None => {}
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Cause::Unavailable(format!("{error:#}"));
    }
    if let Some(Misfit(why)) = error.downcast_ref() {
        return Cause::Unavailable(format!("its exports do not fit the contract: {why:#}"));
    }
    if error.chain().any(|cause| cause.to_string().contains(HOSTCALL_FUEL)) {
        return Cause::OutputTooLarge { limit: limits.output };
    }
    if error.is::<crate::wasi::Exited>() || error.is::<crate::wasi::denied::Denied>() {
        return Cause::Trapped {
            summary: format!("{}", error.root_cause()),
            trap: error,
        };
    }
    if started {
        Cause::OutputInvalid {
            field: "answer".to_owned(),
            problem: format!("cannot be read: {}", error.root_cause()),
        }
    } else {
        Cause::Unavailable(format!("{error:#}"))
    }
}

/// An export has the name of a phase and another shape.
#[derive(Debug, thiserror::Error)]
#[error("an export does not fit the contract")]
struct Misfit(wasmtime::Error);

/// How wasmtime says that more crosses the boundary than allowed: its error has no public type.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls has been exhausted";
