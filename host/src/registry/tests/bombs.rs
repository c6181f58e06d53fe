//! Real bombs: gzip files that are small on their way, and large for whoever unpacks them. Nobody here does.

use std::{process::Command, sync::LazyLock};

use super::*;

/// 0.1 MB, 16 MiB once it is unpacked.
pub(super) static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| bomb(65_000, 0x6926_c8a1));
/// 1.7 MB, 256 MiB once it is unpacked.
pub(super) static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| bomb(1_040_447, 0xe25c_f02a));

/// A gzip file of `1 + 258 * copies` zeros: one, and copies of what was before. `sum` is their CRC-32.
fn bomb(copies: u32, sum: u32) -> Vec<u8> {
    let (mut packed, mut open, mut count) = (b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec(), 0_u8, 0);
    let mut add = |bits: &str| {
        for bit in bits.bytes() {
            open |= (bit - b'0') << count;
            count += 1;
            if count == 8 {
                packed.push(open);
                (open, count) = (0, 0);
            }
        }
    };
    // The last block, of fixed codes: a zero, then the longest copy of what is one byte back, then the end.
    add("110");
    add("00110000");
    for _ in 0..copies {
        add("1100010100000");
    }
    add("0000000");
    // To the end of its byte.
    add("0000000");
    packed.extend(sum.to_le_bytes());
    packed.extend((1 + 258 * copies).to_le_bytes());
    packed
}

/// So much more memory all bad artifacts together may take than a good one, in KiB. One bomb has four times that.
const MOST: u64 = 64 << 10;
/// Set in the process that is measured: others of these tests take memory too.
const MEASURED: &str = "BERTH_TEST_BOMBS_MEASURED";
/// The name of the test that is run there.
const NAME: &str = "registry::tests::bombs::bombs_and_all_other_bad_artifacts_take_little_memory";

#[cfg(target_os = "linux")]
#[test]
fn bombs_and_all_other_bad_artifacts_take_little_memory() {
    if std::env::var_os(MEASURED).is_some() {
        return measure();
    }
    let test = std::env::current_exe().unwrap();
    let mut child = Command::new(test);
    child.args(["--exact", NAME, "--nocapture", "--test-threads", "1"]);
    let output = child.env(MEASURED, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let more = told.split_once("more KiB: ").and_then(|(_, rest)| rest.lines().next());
    let more: u64 = more.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
    assert!(more < MOST, "{more} KiB");
}

/// The most memory that this process ever had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[allow(clippy::print_stdout, reason = "the other process reads it")]
fn measure() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        assert!(LARGE.len() < 2 << 20 && SMALL.len() < 1 << 20);
        // A good one, and the bombs themselves, are not what is measured.
        wire::answers(|_, _| None).await;
        let before = peak();
        bad::all_are_refused().await;
        bad::is_refused_by_its_first_bytes(&LARGE).await;
        wire::answers(wire::bomb).await;
        println!("more KiB: {}", peak() - before);
    });
}
