//! What the demo prints: a line that changes while a scene runs, a block when it has ended, or JSON.

use std::{
    io::{IsTerminal as _, Write},
    time::Instant,
};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::{Context as _, Result};
use berth_engine::contract::{AdapterStatus, Condition, Truth};

use super::Shown;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const HOLDS: Style = AnsiColor::Green.on_default();
const HOLDS_NOT: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();

/// Empties the line; text that is too long for it is cut off by the terminal.
const BEGIN: &str = "\r\x1b[2K\x1b[?7l";
/// Lets the terminal break lines again.
const END: &str = "\x1b[?7h";

/// Where the demo prints to.
pub(super) struct View {
    json: bool,
    /// Where the line is that may change.
    line: Box<dyn Write>,
    /// Whether somebody looks on, so that a line may change while a scene runs.
    live: bool,
    /// Whether that line may have colours.
    coloured: bool,
    scene: String,
    began: Instant,
}

impl View {
    pub(super) fn new(json: bool) -> Self {
        let stderr = std::io::stderr();
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let live = stderr.is_terminal() && !dumb;
        let coloured = AutoStream::choice(&stderr) != ColorChoice::Never;
        Self::over(Box::new(stderr), json, live, coloured)
    }

    fn over(line: Box<dyn Write>, json: bool, live: bool, coloured: bool) -> Self {
        Self {
            json,
            line,
            live,
            coloured,
            scene: String::new(),
            began: Instant::now(),
        }
    }

    /// A scene begins.
    pub(super) fn begin(&mut self, name: &str, title: &str) {
        self.scene = format!("… {name}  {title}");
        self.began = Instant::now();
        self.go_on(None);
    }

    /// A scene goes on: what its adapter says now.
    pub(super) fn go_on(&mut self, row: Option<&AdapterStatus>) {
        if !self.live {
            return;
        }
        let seconds = self.began.elapsed().as_secs_f64();
        let mut line = format!("{FAINT}{}  {seconds:.1} s{FAINT:#}", self.scene);
        for condition in row.map(|row| row.conditions.as_slice()).unwrap_or_default() {
            let style = style(condition.status);
            line.push_str(&format!("  {}={style}{:?}{style:#}", condition.kind, condition.status));
        }
        if !self.coloured {
            line = anstream::adapter::strip_str(&line).to_string();
        }
        self.write(&line);
    }

    /// A scene has ended.
    pub(super) fn show(&mut self, title: &str, shown: &Shown) -> Result<()> {
        self.clear();
        let mut out = anstream::stdout();
        if self.json {
            let line = serde_json::to_string(shown).context("a scene cannot be written as JSON")?;
            return writeln!(out, "{line}").context("cannot print");
        }
        write!(out, "{}", block(title, shown)).context("cannot print")
    }

    /// All scenes have ended.
    pub(super) fn end(&mut self, scenes: usize, failed: usize) -> Result<()> {
        if self.json {
            return Ok(());
        }
        let mut out = anstream::stdout();
        match (failed, scenes) {
            (0, 1) => writeln!(out, "{GOOD}the journey is as it should be{GOOD:#}"),
            (0, _) => writeln!(out, "{GOOD}all {scenes} journeys are as they should be{GOOD:#}"),
            (_, _) => writeln!(
                out,
                "{BAD}{failed} of {scenes} journeys are not as they should be{BAD:#}"
            ),
        }
        .context("cannot print")
    }

    fn clear(&mut self) {
        if self.live {
            self.write("");
        }
    }

    fn write(&mut self, text: &str) {
        // Nobody can be told that this talk failed.
        drop(write!(self.line, "{BEGIN}{text}{END}").and_then(|()| self.line.flush()));
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // An error is told on an empty line.
        self.clear();
    }
}

fn style(status: Truth) -> Style {
    match status {
        Truth::True => HOLDS,
        Truth::False => HOLDS_NOT,
        Truth::Unknown => FAINT,
    }
}

/// A scene's end in words: who, how long, and a line for each condition.
fn block(title: &str, shown: &Shown) -> String {
    let (style, mark) = if shown.problem.is_none() {
        (GOOD, "✓")
    } else {
        (BAD, "✗")
    };
    let seconds = shown.duration_ms as f64 / 1000.0;
    let mut text = format!("{style}{mark} {}{style:#}  {title}\n", shown.journey);
    text.push_str(&format!(
        "    {FAINT}{} on {}, {seconds:.1} s{FAINT:#}\n",
        shown.adapter, shown.subject
    ));
    let widest = |text: fn(&Condition) -> &str| shown.conditions.iter().map(|one| text(one).len()).max().unwrap_or(0);
    let (kinds, reasons) = (widest(|one| &one.kind), widest(|one| &one.reason));
    for Condition {
        kind,
        status,
        reason,
        message,
    } in &shown.conditions
    {
        let style = self::style(*status);
        let status = format!("{status:?}");
        let line =
            format!("    {kind:kinds$}  {style}{status:7}{style:#}  {reason:reasons$}  {FAINT}{message}{FAINT:#}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    if let Some(problem) = &shown.problem {
        text.push_str(&format!("    {BAD}not as it should be:{BAD:#} {problem}\n"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a terminal gets.
    #[derive(Clone, Default)]
    struct Terminal(Arc<Mutex<Vec<u8>>>);

    impl Write for Terminal {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Terminal {
        /// The texts that the line had, one after the other, without how long each took.
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            let lines = text.split(BEGIN).skip(1).map(|line| {
                let line = line.strip_suffix(END).unwrap();
                let words = line.split("  ").filter(|word| !word.ends_with(" s"));
                words.collect::<Vec<_>>().join("  ")
            });
            lines.collect()
        }
    }

    fn row() -> AdapterStatus {
        let condition = |kind: &str, status| Condition {
            kind: kind.to_owned(),
            status,
            reason: "Because".to_owned(),
            message: "it is so".to_owned(),
        };
        AdapterStatus {
            adapter: "lz".to_owned(),
            observed_generation: 1,
            conditions: vec![condition("Applied", Truth::True), condition("Available", Truth::False)],
            data: serde_json::Value::Null,
            last_report_time: String::new(),
        }
    }

    #[test]
    fn whoever_looks_on_sees_a_line_that_changes_and_is_empty_at_the_end() {
        let terminal = Terminal::default();
        let mut view = View::over(Box::new(terminal.clone()), true, true, false);
        view.begin("A1", "the work is under way");
        view.go_on(Some(&row()));
        drop(view);
        let expected = [
            "… A1  the work is under way",
            "… A1  the work is under way  Applied=True  Available=False",
            "",
        ];
        assert_eq!(terminal.lines(), expected);
    }

    #[test]
    fn a_terminal_with_colours_gets_them() {
        let terminal = Terminal::default();
        let mut view = View::over(Box::new(terminal.clone()), true, true, true);
        view.go_on(Some(&row()));
        let line = terminal.lines().remove(0);
        assert!(line.contains(&format!("Applied={HOLDS}True{HOLDS:#}")), "{line:?}");
    }

    #[test]
    fn where_nobody_looks_on_nothing_changes() {
        let terminal = Terminal::default();
        let mut view = View::over(Box::new(terminal.clone()), false, false, true);
        view.begin("A1", "the work is under way");
        view.go_on(Some(&row()));
        drop(view);
        assert_eq!(terminal.lines(), [""; 0]);
    }

    #[test]
    fn a_journey_is_told_in_words() {
        let condition = |kind: &str, status, reason: &str, message: &str| Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let shown = Shown {
            journey: "A5",
            subject: "Cluster/0198".to_owned(),
            adapter: "landing-zone",
            conditions: vec![
                condition("Applied", Truth::True, "Applied", "all is there"),
                condition("Available", Truth::False, "BackoffLimitExceeded", "Job lz-0198: failed"),
            ],
            message: "Job lz-0198: failed".to_owned(),
            duration_ms: 1_250,
            problem: Some("Available is False".to_owned()),
        };
        let text = anstream::adapter::strip_str(&block("the workload ran and failed", &shown)).to_string();
        assert_eq!(
            text,
            "\
✗ A5  the workload ran and failed
    landing-zone on Cluster/0198, 1.2 s
    Applied    True     Applied               all is there
    Available  False    BackoffLimitExceeded  Job lz-0198: failed
    not as it should be: Available is False

"
        );
    }
}
