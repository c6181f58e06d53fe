//! What the demo prints: a line while a scene runs, a block when it has ended, or JSON.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result};
use anstyle::{AnsiColor, Style};

use super::Shown;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// Where the demo prints to.
#[derive(Debug)]
pub(super) struct View {
    json: bool,
    /// Whether somebody looks on, so that a line may change while a scene runs.
    live: bool,
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        Self { json, live: std::io::stderr().is_terminal() }
    }

    /// A scene begins.
    pub(super) fn begin(&mut self, name: &str, title: &str) {
        if self.live {
            let mut err = anstream::stderr();
            // Talk that nobody can be told of its failure.
            let _ = write!(err, "\r\x1b[2K{FAINT}… {name}  {title}{FAINT:#}");
            let _ = err.flush();
        }
    }

    /// A scene has ended.
    pub(super) fn show(&mut self, shown: &Shown) -> Result<()> {
        if self.live {
            let _ = write!(anstream::stderr(), "\r\x1b[2K");
        }
        let mut out = anstream::stdout();
        if self.json {
            let line = serde_json::to_string(shown).context("a scene cannot be written as JSON")?;
            return writeln!(out, "{line}").context("cannot print");
        }
        let (style, mark) = if shown.problem.is_none() { (GOOD, "✓") } else { (BAD, "✗") };
        let seconds = shown.duration_ms as f64 / 1000.0;
        let mut text = format!(
            "{style}{mark} {:<17}{style:#} {}  {FAINT}{} {seconds:.1} s{FAINT:#}\n",
            shown.journey, shown.adapter, shown.subject
        );
        text.push_str(&format!("    {}\n", shown.conditions.join("  ")));
        text.push_str(&format!("    “{}”\n", shown.message));
        if let Some(problem) = &shown.problem {
            text.push_str(&format!("    {BAD}not as it should be:{BAD:#} {problem}\n"));
        }
        write!(out, "{text}").context("cannot print")
    }

    /// All scenes have ended.
    pub(super) fn end(&mut self, scenes: usize, failed: usize) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = anstream::stdout();
        if failed == 0 {
            writeln!(out, "{GOOD}all {scenes} journeys are as they should be{GOOD:#}").context("cannot print")
        } else {
            writeln!(out, "{BAD}{failed} of {scenes} journeys are not as they should be{BAD:#}").context("cannot print")
        }
    }
}
