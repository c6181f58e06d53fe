//! WASI 0.2 without a world behind it, for languages whose runtime insists on it.
//!
//! Clocks start at `facts.now` and advance 1 µs per read; sleeping advances them and takes no
//! time. Random bytes come from `facts.seed`. The environment is the granted variables. What
//! is printed becomes log lines. Everything else answers access-denied; see [`denied`]. So a
//! guest that uses WASI is as repeatable, and as confined, as one that does not.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use wasmtime::{
    Result,
    component::{HasSelf, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, OutputStream, Pollable, StreamResult,
    bindings::{cli, clocks, random},
    pipe::ClosedInputStream,
    subscribe,
};
use wasmtime_wasi_io::{IoView, bytes::Bytes};

use crate::{journal::Journal, state::State};

pub(crate) mod denied;

/// What WASI needs during one call.
pub(crate) struct Wasi {
    clock: Arc<Clock>,
    random: u64,
    variables: Arc<[(String, String)]>,
}

impl Wasi {
    /// `start` is in nanoseconds since 1970.
    pub(crate) fn new(start: u64, seed: u64, variables: Arc<[(String, String)]>) -> Self {
        Self {
            clock: Arc::new(Clock {
                start,
                passed: AtomicU64::new(0),
                next: NEVER.into(),
            }),
            random: seed,
            variables,
        }
    }

    /// The next number of a SplitMix64 sequence: the same on every machine and in every version.
    fn number(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > MAX_RANDOM {
            return Err(wasmtime::format_err!(
                "{count} random bytes at once are more than the {MAX_RANDOM} allowed"
            ));
        }
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.number().to_le_bytes());
        }
        bytes.truncate(count);
        Ok(bytes)
    }
}

const MAX_RANDOM: usize = 64 << 10;
const NEVER: u64 = u64::MAX;
const READ: u64 = 1_000;

/// Time as the guest sees it, in nanoseconds.
struct Clock {
    start: u64,
    passed: AtomicU64,
    /// The earliest time that somebody sleeps until, among those looked at in this round.
    next: AtomicU64,
}

impl Clock {
    fn read(&self) -> u64 {
        self.passed.fetch_add(READ, Relaxed) + READ
    }
}

/// A pollable that is ready when the guest's clock says so.
struct Sleep {
    clock: Arc<Clock>,
    until: u64,
}

#[async_trait::async_trait]
impl Pollable for Sleep {
    /// Nobody really waits: in a first round every sleeper says when it wants to wake, in
    /// the next one the clock jumps to the earliest of these times.
    async fn ready(&mut self) {
        loop {
            if self.clock.read() >= self.until {
                return;
            }
            self.clock.next.fetch_min(self.until, Relaxed);
            tokio::task::yield_now().await;
            let next = self.clock.next.swap(NEVER, Relaxed);
            if next != NEVER {
                self.clock.passed.fetch_max(next, Relaxed);
            }
        }
    }
}

/// Standard output and error.
struct Printer(Journal);

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for Printer {
    async fn ready(&mut self) {}
}

/// The guest ended itself by `exit`.
#[derive(Debug, thiserror::Error)]
#[error("the guest exited with code {0}")]
pub(crate) struct Exited(u8);

/// Links what is answered. Interfaces are told apart by their name without version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    wasmtime_wasi_io::add_to_linker_async(linker)?;
    clocks::wall_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    clocks::monotonic_clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::insecure::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::insecure_seed::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::environment::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::exit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::stdin::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::stdout::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::stderr::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::terminal_input::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::terminal_output::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::terminal_stdin::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::terminal_stdout::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    cli::terminal_stderr::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    Ok(())
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl clocks::wall_clock::Host for State {
    fn now(&mut self) -> Result<clocks::wall_clock::Datetime> {
        let now = self.wasi.clock.start.saturating_add(self.wasi.clock.read());
        let (seconds, nanoseconds) = (now / 1_000_000_000, now % 1_000_000_000);
        Ok(clocks::wall_clock::Datetime {
            seconds,
            nanoseconds: u32::try_from(nanoseconds).unwrap_or_default(),
        })
    }

    fn resolution(&mut self) -> Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 1_000,
        })
    }
}

impl clocks::monotonic_clock::Host for State {
    fn now(&mut self) -> Result<u64> {
        Ok(self.wasi.clock.read())
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(READ)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let sleep = self.table.push(Sleep {
            clock: self.wasi.clock.clone(),
            until: when,
        })?;
        subscribe(&mut self.table, sleep)
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        let until = self.wasi.clock.read().saturating_add(duration);
        self.subscribe_instant(until)
    }
}

impl random::random::Host for State {
    fn get_random_bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.wasi.bytes(count)
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        Ok(self.wasi.number())
    }
}

impl random::insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, count: u64) -> Result<Vec<u8>> {
        self.wasi.bytes(count)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        Ok(self.wasi.number())
    }
}

impl random::insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.wasi.number(), self.wasi.number()))
    }
}

impl cli::environment::Host for State {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(self.wasi.variables.to_vec())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl cli::exit::Host for State {
    fn exit(&mut self, status: Result<(), ()>) -> Result<()> {
        Err(Exited(status.is_err().into()).into())
    }

    fn exit_with_code(&mut self, code: u8) -> Result<()> {
        Err(Exited(code).into())
    }
}

impl cli::stdin::Host for State {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(ClosedInputStream);
        Ok(self.table.push(stream)?)
    }
}

impl State {
    fn printer(&mut self) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Printer(self.journal.clone()));
        Ok(self.table.push(stream)?)
    }
}

impl cli::stdout::Host for State {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        self.printer()
    }
}

impl cli::stderr::Host for State {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        self.printer()
    }
}

// There is no terminal, so that none of these resources ever exists.

impl cli::terminal_input::Host for State {}

impl cli::terminal_input::HostTerminalInput for State {
    fn drop(&mut self, terminal: Resource<cli::terminal_input::TerminalInput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl cli::terminal_output::Host for State {}

impl cli::terminal_output::HostTerminalOutput for State {
    fn drop(&mut self, terminal: Resource<cli::terminal_output::TerminalOutput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl cli::terminal_stdin::Host for State {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<cli::terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl cli::terminal_stdout::Host for State {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<cli::terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl cli::terminal_stderr::Host for State {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<cli::terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}
