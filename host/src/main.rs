//! The `berth` command.

/// A host allocates for many reconciles at once, and keeps what they leave for long.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    berth::cli::main()
}
