//! How WebAssembly runs here: which proposals exist, how instances get memory, what keeps time.

use std::{num::NonZeroUsize, thread, time::Duration};

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

use crate::{
    error::RuntimeError,
    settings::{Pool, Settings},
};

/// How often running guests are looked at. Deadlines are exact to this. Each time costs whoever runs just then its turn.
const TICK: Duration = Duration::from_millis(10);

/// What a guest may need; more is refused at load.
const MAX_MEMORIES: u32 = 4;
const MAX_TABLES: u32 = 32;
const MAX_CORE_INSTANCES: u32 = 64;

/// Makes the engine. Where slots cannot be reserved, instances are made on demand.
pub(crate) fn engine(settings: &Settings) -> Result<Engine, RuntimeError> {
    let engine = match settings.pool {
        Pool::OnDemand => Engine::new(&config()),
        Pool::Slots { memories, max_memory } => {
            let mut pooled = config();
            pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(
                settings.concurrency.get(),
                memories.get(),
                max_memory,
            )));
            // Reserving is the probe: address space may be limited in ways that cannot be asked for.
            Engine::new(&pooled).or_else(|error| {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "memory for instances cannot be reserved; they are made on demand, which is slower"
                );
                Engine::new(&config())
            })
        }
    }
    .map_err(RuntimeError::Engine)?;
    tick(&engine)?;
    Ok(engine)
}

pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_component_model(true)
        .concurrency_support(false)
        // Answers must not depend on the machine.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // What plugins do not need cannot be used against us.
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_function_references(false)
        .gc_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        // With this much reserved, memory accesses need no bounds checks.
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .memory_init_cow(true)
        // A trap names its functions without these; they would make up a seventh of what is verified at each load.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(20));
    config
}

fn pool(concurrency: u32, memories: u32, max_memory: usize) -> PoolingAllocationConfig {
    // The semaphore admits `concurrency` calls: with these totals none of them finds the pool
    // empty, which would be an error and not a wait.
    let calls = |each: u32| concurrency.saturating_mul(each);
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(calls(1))
        .total_core_instances(calls(MAX_CORE_INSTANCES))
        .total_memories(memories.max(calls(MAX_MEMORIES)))
        .total_tables(calls(MAX_TABLES))
        .total_stacks(calls(1))
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_tables_per_module(MAX_TABLES)
        .max_memories_per_module(MAX_MEMORIES)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_memory_size(max_memory)
        .table_elements(100_000)
        // These decide how much a fresh instance costs: what a call has touched is scanned
        // for and zeroed in place, and the plugins used last find their slot as they left it.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(memories)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(1);
    pool
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, which must not depend on a busy executor"
)]
/// Starts the thread that advances the engine's epoch. It ends with the engine.
fn tick(engine: &Engine) -> Result<(), RuntimeError> {
    let engine = engine.weak();
    thread::Builder::new()
        .name("berth-epoch".to_owned())
        .spawn(move || {
            loop {
                thread::sleep(TICK);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })
        .map(drop)
        .map_err(RuntimeError::Ticker)
}
