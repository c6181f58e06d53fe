//! The benchmarks of `cargo xtask bench`.
//!
//! Owns how a figure is made of samples and told. Every figure stands beside baselines that
//! were measured in the same run, for times alone say more of the machine than of berth.
//! Never judges: a goal that was missed is told, and that is all.

use std::{io::Write, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::{Value, json};

mod call;
mod child;
mod events;
mod fleet;
mod job;
mod known;
mod load;
mod phases;
mod registry;
mod watch;

pub(crate) use child::resident_of;
pub use child::run as run_child;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Benchmark {
    /// Preconditions of the landing-zone plugin: all limits, a fresh instance for every call.
    PluginCall,
    /// The same call, of 100 distinct plugins in turn.
    #[value(name = "plugin-call-of-100")]
    PluginCallOf100,
    /// Each phase of an adapter document that makes one Job, in the same way.
    DeclarativePhases,
    /// Loading a plugin that the authenticated compile cache holds.
    CachedLoad,
    /// Plugins of a registry: from a tag to live, from the cache alone, and a thousand of them.
    Registry,
    /// From a Job's Complete condition to the stored status, on a real control plane.
    JobToStatus,
    /// CPU of an event and resident memory, by adapters and known subjects.
    KnownSubjects,
    /// Memory of a watched object, on a real control plane.
    WatchMemory,
    /// Events a second and their CPU, through RabbitMQ, on a real control plane.
    Events,
}

/// How figures are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For machines: one JSON object a figure.
    Json,
}

/// How long something took, many times.
#[derive(Debug, Clone)]
pub struct Samples(Vec<Duration>);

/// What a figure is compared with.
#[derive(Debug)]
pub struct Baseline {
    /// What was measured.
    pub what: &'static str,
    /// How long it took.
    pub samples: Samples,
    /// How many times its p50 the figure's may be; none where they are only compared.
    pub goal: Option<f64>,
}

/// One figure.
#[derive(Debug)]
pub struct Figure {
    /// Its stable name.
    pub name: String,
    /// What was measured: from when to when.
    pub what: &'static str,
    /// How long it took.
    pub samples: Samples,
    /// How long half of them may take.
    pub goal_p50: Option<Duration>,
    /// How long 99 of 100 may take.
    pub goal_p99: Option<Duration>,
    /// What it is compared with.
    pub baselines: Vec<Baseline>,
}

impl Benchmark {
    /// Those that were asked for; all if none was.
    #[must_use]
    pub fn chosen(only: &[Self]) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|one| only.is_empty() || only.contains(one)).collect()
    }

    /// Measures, and tells each finding as soon as it is there; what can be made `smaller` is so many times smaller
    /// than it is meant to be.
    ///
    /// # Errors
    /// When what is to be measured cannot be set up or does not work, or `tell` fails.
    pub async fn measure(self, smaller: usize, tell: Tell<'_>) -> Result<()> {
        let smaller = smaller.max(1);
        let times = match self {
            Self::PluginCall => call::of_one().await?,
            Self::PluginCallOf100 => call::of_many().await?,
            Self::DeclarativePhases => phases::of_a_document().await?,
            Self::CachedLoad => load::cached()?,
            Self::JobToStatus => job::to_status().await?,
            Self::Registry => return registry::all(smaller, tell).await,
            Self::KnownSubjects => return known::measure(smaller, tell).await,
            Self::WatchMemory => return tell(Finding::Size(watch::measure(smaller).await?)),
            Self::Events => return events::measure(smaller, tell).await,
        };
        times.into_iter().map(Finding::Time).try_for_each(tell)
    }
}

/// What findings are told to, one after the other.
pub type Tell<'t> = &'t mut dyn FnMut(Finding) -> Result<()>;

/// What was found.
#[derive(Debug)]
pub enum Finding {
    /// How long something takes.
    Time(Figure),
    /// How much memory something takes.
    Size(Size),
}

impl Finding {
    /// Writes it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn tell(&self, output: Output, out: &mut impl Write) -> Result<()> {
        match self {
            Self::Time(figure) => figure.tell(output, out),
            Self::Size(size) => size.tell(output, out),
        }
    }
}

/// One amount of memory.
#[derive(Debug)]
pub struct Size {
    /// Its stable name.
    pub name: String,
    /// What was measured.
    pub what: &'static str,
    /// How much.
    pub bytes: u64,
    /// How much it may be.
    pub goal: Option<u64>,
    /// What it is compared with, and how much that is.
    pub baselines: Vec<(&'static str, u64)>,
}

impl Size {
    /// Writes it.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn tell(&self, output: Output, out: &mut impl Write) -> Result<()> {
        match output {
            Output::Table => self.tell_people(out),
            Output::Json => writeln!(out, "{}", self.document()).and_then(|()| out.flush()),
        }
        .context("cannot write a figure")
    }

    fn tell_people(&self, out: &mut impl Write) -> std::io::Result<()> {
        let goal = self.goal.map_or_else(String::new, |goal| {
            let met = if self.bytes <= goal { "met" } else { "missed" };
            format!("≤ {}  {met}", sized(goal))
        });
        writeln!(
            out,
            "{:<34} {:>7} {:>10} {:>10} {:>9}  {goal}",
            self.name,
            "",
            sized(self.bytes),
            "",
            ""
        )?;
        for (what, bytes) in &self.baselines {
            let ratio = format!("× {}", rounded(amounts(self.bytes, *bytes)));
            writeln!(
                out,
                "  {what:<32} {:>7} {:>10} {:>10} {ratio:>9}",
                "",
                sized(*bytes),
                ""
            )?;
        }
        writeln!(out, "  {}\n", self.what)?;
        out.flush()
    }

    fn document(&self) -> Value {
        let baselines = self
            .baselines
            .iter()
            .map(|(what, bytes)| json!({"what": what, "bytes": bytes, "ratio": amounts(self.bytes, *bytes)}));
        json!({
            "name": self.name, "what": self.what, "bytes": self.bytes, "goalBytes": self.goal,
            "met": self.goal.map(|goal| self.bytes <= goal), "baselines": baselines.collect::<Vec<_>>(),
        })
    }
}

impl Samples {
    /// Keeps times; there must be one.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(mut times: Vec<Duration>) -> Result<Self> {
        anyhow::ensure!(!times.is_empty(), "nothing was measured");
        times.sort_unstable();
        Ok(Self(times))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least time that this many of 100 samples do not exceed (nearest rank).
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The same if each had taken so many times as long.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|time| time.mul_f64(factor.max(0.0))).collect())
    }
}

impl Figure {
    /// Whether every goal is met, those beside baselines included; none without a goal.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        let beside = self
            .baselines
            .iter()
            .filter_map(|baseline| self.is_met_beside(baseline));
        self.is_met_alone()
            .into_iter()
            .chain(beside)
            .reduce(|one, other| one && other)
    }

    fn is_met_alone(&self) -> Option<bool> {
        let goals = [(self.goal_p50, 50), (self.goal_p99, 99)];
        let judged = goals
            .iter()
            .filter_map(|(goal, percent)| goal.map(|goal| self.samples.percentile(*percent) <= goal));
        judged.reduce(|one, other| one && other)
    }

    fn is_met_beside(&self, baseline: &Baseline) -> Option<bool> {
        baseline.goal.map(|goal| self.times(baseline) <= goal)
    }

    /// How many times a baseline it is.
    fn times(&self, baseline: &Baseline) -> f64 {
        ratio(self.samples.percentile(50), baseline.samples.percentile(50))
    }

    /// Writes the figure.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn tell(&self, output: Output, out: &mut impl Write) -> Result<()> {
        match output {
            Output::Table => self.tell_people(out),
            Output::Json => writeln!(out, "{}", self.document()).and_then(|()| out.flush()),
        }
        .context("cannot write a figure")
    }

    fn tell_people(&self, out: &mut impl Write) -> std::io::Result<()> {
        let (p50, p99) = (self.samples.percentile(50), self.samples.percentile(99));
        let goal = [("p50", self.goal_p50), ("p99", self.goal_p99)]
            .into_iter()
            .filter_map(|(name, goal)| goal.map(|goal| format!("{name} ≤ {}", told(goal))))
            .collect::<Vec<_>>()
            .join(", ");
        let met = verdict(self.is_met_alone());
        writeln!(
            out,
            "{:<34} {:>7} {:>10} {:>10} {:>9}  {goal}{met}",
            self.name,
            self.samples.count(),
            told(p50),
            told(p99),
            ""
        )?;
        for baseline in &self.baselines {
            let Baseline { what, samples, goal } = baseline;
            let goal = goal.map_or_else(String::new, |goal| format!("  ≤ × {}", rounded(goal)));
            writeln!(
                out,
                "  {what:<32} {:>7} {:>10} {:>10} {:>9}{goal}{}",
                samples.count(),
                told(samples.percentile(50)),
                told(samples.percentile(99)),
                format!("× {}", rounded(self.times(baseline))),
                verdict(self.is_met_beside(baseline)),
            )?;
        }
        writeln!(out, "  {}\n", self.what)?;
        out.flush()
    }

    fn document(&self) -> Value {
        let spread = |samples: &Samples| {
            json!({
                "n": samples.count(), "p50Microseconds": microseconds(samples.percentile(50)),
                "p99Microseconds": microseconds(samples.percentile(99)),
            })
        };
        let baselines = self.baselines.iter().map(|baseline| {
            let mut document = spread(&baseline.samples);
            document["what"] = json!(baseline.what);
            document["ratioOfP50"] = json!(self.times(baseline));
            document["goalRatioOfP50"] = json!(baseline.goal);
            document["met"] = json!(self.is_met_beside(baseline));
            document
        });
        let mut document = spread(&self.samples);
        document["name"] = json!(self.name);
        document["what"] = json!(self.what);
        document["goalP50Microseconds"] = json!(self.goal_p50.map(microseconds));
        document["goalP99Microseconds"] = json!(self.goal_p99.map(microseconds));
        document["met"] = json!(self.is_met());
        document["baselines"] = baselines.collect();
        document
    }
}

/// Writes what stands above the figures.
///
/// # Errors
/// When `out` cannot be written.
pub fn head(output: Output, out: &mut impl Write) -> Result<()> {
    match output {
        Output::Table => writeln!(
            out,
            "{:<34} {:>7} {:>10} {:>10} {:>9}  goal\n",
            "figure, and its baselines below", "n", "p50", "p99", "× of p50"
        )
        .and_then(|()| out.flush())
        .context("cannot write"),
        Output::Json => Ok(()),
    }
}

/// The bytes of a component that `cargo xtask setup` has built.
fn component(name: &str) -> Result<Vec<u8>> {
    let folder = std::env::var_os("BERTH_COMPONENTS")
        .map(PathBuf::from)
        .context("BERTH_COMPONENTS does not name the folder of built components; run `cargo xtask bench`")?;
    let file = folder.join(name);
    std::fs::read(&file).with_context(|| format!("cannot read {}; run `cargo xtask setup`", file.display()))
}

fn microseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn ratio(time: Duration, baseline: Duration) -> f64 {
    time.div_duration_f64(baseline.max(Duration::from_nanos(1)))
}

fn verdict(met: Option<bool>) -> &'static str {
    met.map_or("", |met| if met { "  met" } else { "  missed" })
}

fn rounded(ratio: f64) -> String {
    if ratio >= 10.0 {
        format!("{ratio:.0}")
    } else if ratio >= 0.1 {
        format!("{ratio:.2}")
    } else {
        format!("{ratio:.4}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio is told with two digits")]
fn amounts(bytes: u64, baseline: u64) -> f64 {
    bytes as f64 / baseline.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "a size is told with one digit")]
fn sized(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1024.0 * 1024.0 {
        format!("{:.1} KiB", bytes / 1024.0)
    } else {
        format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
    }
}

fn told(time: Duration) -> String {
    let micros = microseconds(time);
    if micros < 1_000.0 {
        format!("{micros:.1} µs")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
mod tests {
    use super::*;

    fn samples(micros: impl IntoIterator<Item = u64>) -> Samples {
        Samples::new(micros.into_iter().map(Duration::from_micros).collect()).unwrap()
    }

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let hundred = samples((1..=100).rev());
        assert_eq!(hundred.percentile(50), Duration::from_micros(50));
        assert_eq!(hundred.percentile(99), Duration::from_micros(99));
        assert_eq!(samples([7]).percentile(99), Duration::from_micros(7));
        assert_eq!(samples([1, 2, 9]).percentile(50), Duration::from_micros(2));
    }

    #[test]
    fn a_size_tells_its_ratio_and_whether_its_goal_is_met() {
        let size = Size {
            name: "watch".to_owned(),
            what: "an object",
            bytes: 3072,
            goal: Some(2048),
            baselines: vec![("plain", 6144)],
        };
        assert_eq!(
            size.document(),
            json!({
                "name": "watch", "what": "an object", "bytes": 3072, "goalBytes": 2048, "met": false,
                "baselines": [{"what": "plain", "bytes": 6144, "ratio": 0.5}],
            })
        );
        let mut told = Vec::new();
        size.tell(Output::Table, &mut told).unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(
            told.contains("3.0 KiB") && told.contains("missed") && told.contains("× 0.50"),
            "{told}"
        );
    }

    #[test]
    fn a_figure_tells_its_ratio_and_whether_each_goal_is_met() {
        let mut figure = Figure {
            name: "call".to_owned(),
            what: "a call",
            samples: samples([20, 20, 20, 300]),
            goal_p50: Some(Duration::from_micros(50)),
            goal_p99: Some(Duration::from_micros(150)),
            baselines: vec![Baseline {
                what: "native",
                samples: samples([2]),
                goal: None,
            }],
        };
        assert_eq!(
            figure.document(),
            json!({
                "name": "call", "what": "a call", "n": 4, "p50Microseconds": 20.0, "p99Microseconds": 300.0,
                "goalP50Microseconds": 50.0, "goalP99Microseconds": 150.0, "met": false,
                "baselines": [
                    {
                        "what": "native", "n": 1, "p50Microseconds": 2.0, "p99Microseconds": 2.0, "ratioOfP50": 10.0,
                        "goalRatioOfP50": null, "met": null,
                    },
                ],
            })
        );
        figure.goal_p99 = None;
        assert_eq!(figure.is_met(), Some(true));
        figure.goal_p50 = None;
        assert_eq!(figure.is_met(), None);
    }

    #[test]
    fn a_goal_beside_a_baseline_is_told_and_counts() {
        let mut figure = Figure {
            name: "event".to_owned(),
            what: "an event",
            samples: samples([30]),
            goal_p50: Some(Duration::from_micros(50)),
            goal_p99: None,
            baselines: vec![Baseline {
                what: "bare",
                samples: samples([20]),
                goal: Some(1.5),
            }],
        };
        let told = |figure: &Figure| {
            let mut told = Vec::new();
            figure.tell(Output::Table, &mut told).unwrap();
            String::from_utf8(told).unwrap()
        };
        assert_eq!(figure.is_met(), Some(true));
        assert!(told(&figure).contains("× 1.50  ≤ × 1.50  met"), "{}", told(&figure));
        figure.baselines[0].samples = samples([19]);
        assert_eq!(figure.is_met(), Some(false));
        let text = told(&figure);
        assert!(text.contains("p50 ≤ 50.0 µs  met"), "its own goal is met: {text}");
        assert!(text.contains("≤ × 1.50  missed"), "{text}");
        let document = figure.document();
        assert_eq!(
            (&document["met"], &document["baselines"][0]["met"]),
            (&json!(false), &json!(false))
        );
    }
}
