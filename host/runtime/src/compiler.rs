//! Compiles components in a process of its own, which can be ended: what a component says can make the compiler slow or
//! hungry, and inside of this process nothing could be done about it. The memory that it takes goes with it, too.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use wasmtime::Engine;

use crate::{engine, error::LoadError};

/// How the compiler's process is started, and what it may take.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// A program that calls [`compile_component`].
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// After so long it is ended.
    pub time: Duration,
}

impl Compiler {
    /// This program, started with these arguments.
    #[must_use]
    pub fn of_this_program(arguments: &[&str]) -> Self {
        // There even after the file was replaced.
        let linux = PathBuf::from("/proc/self/exe");
        let program = if cfg!(target_os = "linux") && linux.exists() {
            linux
        } else {
            std::env::current_exe().unwrap_or_default()
        };
        Self {
            program,
            arguments: arguments.iter().map(OsString::from).collect(),
            time: Duration::from_secs(120),
        }
    }

    /// The compiled form of a component. Blocks until it is there, or the time is over.
    pub(crate) fn compile(&self, bytes: &[u8]) -> Result<Vec<u8>, LoadError> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            // It needs no settings, and gets no secrets.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LoadError::NoCompiler)?;
        let ended = self.wait(&mut child, bytes);
        let Some(output) = ended.map_err(LoadError::NoCompiler)? else {
            return Err(LoadError::TooSlow { limit: self.time });
        };
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match output.status.code() {
            Some(0) if output.stdout.len() as u64 > MAX_CODE => Err(LoadError::TooMuchCode { limit: MAX_CODE }),
            Some(0) => Ok(output.stdout),
            Some(code) if code == i32::from(INVALID) => Err(LoadError::Invalid(wasmtime::Error::msg(said))),
            _ => Err(LoadError::CompilerDied {
                status: output.status,
                said,
            }),
        }
    }

    /// What the process gave; none if its time was over. It has ended afterwards.
    fn wait(&self, child: &mut Child, bytes: &[u8]) -> io::Result<Option<Output>> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(mut stdout), Some(mut stderr)) = pipes else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        thread::scope(|scope| {
            // Whoever does not read everything says why on its way out.
            scope.spawn(move || drop(stdin.write_all(bytes)));
            let talk = scope.spawn(move || {
                let mut said = Vec::new();
                drop(stderr.by_ref().take(64 << 10).read_to_end(&mut said));
                said
            });
            let (done, has_ended) = mpsc::channel();
            scope.spawn(move || {
                let mut code = Vec::new();
                let read = stdout.by_ref().take(MAX_CODE + 1).read_to_end(&mut code);
                // Nobody listens any more when the time is over.
                drop(done.send(read.map(|_| code)));
            });
            let begun = Instant::now();
            let code = has_ended.recv_timeout(self.time);
            if code.is_err() {
                child.kill()?;
            }
            let status = self.status(child, begun)?;
            let said = talk.join().unwrap_or_default();
            match code {
                Ok(code) => Ok(Some(Output {
                    status,
                    stdout: code?,
                    stderr: said,
                })),
                Err(_) => Ok(None),
            }
        })
    }

    /// How the process ended. It has nothing to do any more: if it stays longer than it may compile, it is ended.
    fn status(&self, child: &mut Child, begun: Instant) -> io::Result<ExitStatus> {
        while begun.elapsed() < self.time {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            thread::park_timeout(Duration::from_millis(1));
        }
        child.kill()?;
        child.wait()
    }
}

/// How much code is taken from the compiler, in bytes: more than sixteen times the largest plugin has.
const MAX_CODE: u64 = 1 << 30;

/// The exit code of the compiler when the bytes are no component.
const INVALID: u8 = 3;

/// How much memory the compiler may take where nothing bounds this container, in bytes.
const MEMORY: u64 = 4 << 30;

/// How much memory the compiler may take: half of what its container has. Where a container is killed as a whole
/// for want of memory, the compiler must end before that.
fn memory() -> u64 {
    let bound = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    // Of the second and of the first version of control groups; `max` is no number.
    let container = bound("/sys/fs/cgroup/memory.max").or_else(|| bound("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    container.map_or(MEMORY, |bytes| (bytes / 2).min(MEMORY))
}

/// What the compiler's process does: it reads a component from stdin and writes its compiled form to stdout. Answers
/// with its exit code; why there is no code is told on stderr.
///
/// # Errors
/// When the process cannot read, write or bound itself.
pub fn compile_component() -> io::Result<u8> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};

    // Whoever started it waits for it; nobody else wants what it makes.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // Events come first; and yet a start on a busy machine must come to its end.
    nice(5)?;
    let most = Some(memory());
    let bound = Rlimit {
        current: most,
        maximum: most,
    };
    // What is written to counts, and not what is reserved.
    setrlimit(Resource::Data, bound)?;
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let compiled = Engine::new(&engine::config()).and_then(|engine| engine.precompile_component(&bytes));
    match compiled {
        Ok(code) => io::stdout().write_all(&code).map(|()| 0),
        Err(error) => writeln!(io::stderr(), "{error:#}").map(|()| INVALID),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn shell(script: &str, time: Duration) -> Compiler {
        Compiler {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            time,
        }
    }

    #[test]
    fn what_comes_from_the_compiler_is_the_code() {
        let through = shell("/bin/cat", Duration::from_secs(60));
        let many = vec![7; 3 << 20];
        assert_eq!(through.compile(&many).unwrap(), many);
    }

    #[test]
    fn a_compiler_that_takes_too_long_is_ended() {
        let slow = shell("exec /bin/sleep 600", Duration::from_millis(50));
        let error = slow.compile(&vec![7; 3 << 20]).unwrap_err();
        assert!(matches!(error, LoadError::TooSlow { .. }), "{error:?}");
        assert_eq!(error.to_string(), "compiling the plugin takes longer than 50ms");
    }

    #[test]
    fn a_compiler_that_has_nothing_to_say_and_stays_is_ended() {
        // Long enough for a shell to have nothing to say, on a busy machine too.
        let stays = shell("exec /bin/sleep 600 >&- 2>&-", Duration::from_secs(5));
        let error = stays.compile(b"anything").unwrap_err();
        assert!(matches!(error, LoadError::CompilerDied { .. }), "{error:?}");
    }

    #[test]
    fn a_compiler_that_refuses_says_why() {
        let refuses = shell("echo 'no component' >&2; exit 3", Duration::from_secs(60));
        match refuses.compile(b"anything").unwrap_err() {
            LoadError::Invalid(why) => assert_eq!(why.to_string(), "no component"),
            error => panic!("{error:?}"),
        }
    }

    #[test]
    fn a_compiler_that_is_killed_is_told_from_one_that_refuses() {
        let killed = shell("kill -9 $$", Duration::from_secs(60));
        let error = killed.compile(b"anything").unwrap_err();
        assert!(matches!(error, LoadError::CompilerDied { .. }), "{error:?}");
        assert!(error.to_string().contains("signal: 9"), "{error}");
    }

    #[test]
    fn a_compiler_that_is_not_there_is_told() {
        let missing = Compiler {
            program: "/nowhere".into(),
            ..shell("", Duration::from_secs(60))
        };
        assert!(matches!(missing.compile(b"x").unwrap_err(), LoadError::NoCompiler(_)));
    }
}
