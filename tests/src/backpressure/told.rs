//! What was measured, and what is not as it must be.

use std::{fmt, time::Duration};

use super::{CONCURRENCY, PREFETCH, THINKS};

/// By how much the host may grow, in bytes: half of what is published in the short form.
const GROWTH: u64 = 31 << 20;
/// By how much it may go on growing in ten minutes.
const SLOPE: f64 = (16 << 20) as f64;
/// Other subjects may wait so many times as long as without slow ones.
const SLOWER: u32 = 10;

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Resident bytes before events about slow subjects came.
    pub bytes_before: u64,
    /// When how many bytes were resident since then.
    pub bytes: Vec<(Duration, u64)>,
    /// The most events that the host had taken and not settled.
    pub most_taken: u64,
    /// The most requests about slow subjects that the API worked on at once.
    pub most_at_once: usize,
    /// Events about slow subjects that were published.
    pub published: usize,
    /// Events that were settled.
    pub settled: u64,
    /// Reports about slow subjects.
    pub slow_reports: usize,
    /// How long events about other subjects took to be reported on, while nothing was slow.
    pub alone: Vec<Duration>,
    /// The same beside the slow ones.
    pub beside: Vec<Duration>,
}

impl Told {
    /// What is not as it must be.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let mut troubles = Vec::new();
        let most = self.bytes.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
        if most > self.bytes_before + GROWTH {
            troubles.push(format!("the host grew by {} bytes", most - self.bytes_before));
        }
        let slope = slope(&self.bytes);
        if self.is_long() && slope * 600.0 > SLOPE {
            troubles.push(format!("the host goes on growing, by {slope:.0} bytes a second"));
        }
        if self.most_taken > PREFETCH {
            troubles.push(format!("{} events were taken at once", self.most_taken));
        }
        if self.most_at_once > CONCURRENCY {
            troubles.push(format!(
                "{} requests of reconciles were made at once",
                self.most_at_once
            ));
        }
        for (percent, always) in [(50, THINKS / 4), (99, THINKS)] {
            let (alone, beside) = (percentile(&self.alone, percent), percentile(&self.beside, percent));
            let limit = (alone * SLOWER).max(always);
            if beside > limit {
                troubles.push(format!(
                    "other subjects waited: {percent} % were reported on within {beside:?}, and within {alone:?} before"
                ));
            }
        }
        if self.alone.is_empty() || self.beside.is_empty() || self.slow_reports == 0 || self.settled == 0 {
            troubles.push("nothing went on".to_owned());
        }
        troubles
    }

    /// Whether it took long enough to see by how much the host grows: in the first minutes pools are filled.
    fn is_long(&self) -> bool {
        self.bytes.last().is_some_and(|(at, _)| *at >= Duration::from_secs(300))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spread = |times: &[Duration]| {
            let [p50, p99] = [50, 99].map(|percent| percentile(times, percent));
            format!("{} events, p50 {p50:?}, p99 {p99:?}", times.len())
        };
        let most = self.bytes.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default();
        writeln!(f, "other subjects alone: {}", spread(&self.alone))?;
        writeln!(f, "beside slow ones:     {}", spread(&self.beside))?;
        writeln!(
            f,
            "{} events about slow subjects published, {} reports about them, at most {} of their requests at once",
            self.published, self.slow_reports, self.most_at_once
        )?;
        writeln!(
            f,
            "{} events settled, at most {} taken and not settled",
            self.settled, self.most_taken
        )?;
        write!(
            f,
            "resident: {} bytes before, {most} at most, {:+.0} bytes a second in the second half",
            self.bytes_before,
            slope(&self.bytes)
        )
    }
}

/// The time that so many of 100 do not exceed (nearest rank).
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// By how many bytes a second the second half grows, by the least squares.
#[expect(
    clippy::cast_precision_loss,
    reason = "so many bytes are far from the limit of the precision"
)]
fn slope(samples: &[(Duration, u64)]) -> f64 {
    let half = &samples[samples.len() / 2..];
    let points: Vec<(f64, f64)> = half
        .iter()
        .map(|(at, bytes)| (at.as_secs_f64(), *bytes as f64))
        .collect();
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count.max(1.0);
    let (at, bytes) = (mean(|point| point.0), mean(|point| point.1));
    let spread: f64 = points.iter().map(|point| (point.0 - at).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - at) * (point.1 - bytes)).sum();
    if spread > 0.0 { together / spread } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Told {
        let quick = vec![Duration::from_millis(30); 100];
        Told {
            bytes_before: 100 << 20,
            bytes: (0..20).map(|at| (Duration::from_secs(at), 110 << 20)).collect(),
            most_taken: 256,
            most_at_once: 64,
            published: 100,
            settled: 10,
            slow_reports: 3,
            alone: quick.clone(),
            beside: quick,
        }
    }

    fn growing(seconds: u64, bytes_a_second: u64) -> Vec<(Duration, u64)> {
        (0..=seconds)
            .map(|at| (Duration::from_secs(at), (100 << 20) + at * bytes_a_second))
            .collect()
    }

    #[test]
    fn growth_greed_and_waiting_are_troubles() {
        assert_eq!(good().troubles(), Vec::<String>::new());
        let mut grown = good();
        grown.bytes.push((Duration::from_secs(20), (100 << 20) + GROWTH + 1));
        assert_eq!(grown.troubles().len(), 1);
        let mut greedy = good();
        (greedy.most_taken, greedy.most_at_once) = (PREFETCH + 1, CONCURRENCY + 1);
        assert_eq!(greedy.troubles().len(), 2);
        let mut idle = good();
        idle.slow_reports = 0;
        assert_eq!(idle.troubles(), ["nothing went on"]);
        let mut waited = good();
        // Two of 100 are more than one of 100 may be.
        waited.beside[..2].fill(THINKS + Duration::from_millis(1));
        assert_eq!(waited.troubles().len(), 1, "{:?}", waited.troubles());
        // Where all are slow, these are not slower.
        waited.alone.fill(Duration::from_millis(300));
        assert_eq!(waited.troubles(), Vec::<String>::new());
    }

    #[test]
    fn a_host_that_goes_on_growing_is_found_in_the_long_form() {
        let mut long = good();
        long.bytes = growing(600, 1 << 10);
        assert_eq!(long.troubles(), Vec::<String>::new(), "{}", slope(&long.bytes));
        long.bytes = growing(600, 32 << 10);
        assert_eq!(long.troubles().len(), 1, "{:?}", long.troubles());
        assert!((slope(&long.bytes) - f64::from(32 << 10)).abs() < 1.0);
        long.bytes = growing(20, 32 << 10);
        assert_eq!(long.troubles(), Vec::<String>::new(), "so soon nobody can tell");
    }
}
