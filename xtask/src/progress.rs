//! What a task tells its user, on standard error: each step as it begins, and how long it took.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Writes one line to standard error.
pub(crate) fn say(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The steps of one task, in order.
#[derive(Debug)]
pub(crate) struct Steps {
    task: &'static str,
    begun: Instant,
    done: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    name: String,
    took: Duration,
    failure: Option<anyhow::Error>,
}

impl Steps {
    /// Begins the task of this name.
    pub(crate) fn new(task: &'static str) -> Self {
        Self {
            task,
            begun: Instant::now(),
            done: Vec::new(),
        }
    }

    /// Runs a step that later ones depend on: its error ends the task, and names the step.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        let (result, took) = self.time(name, step);
        if result.is_err() {
            self.summarise(Some((name, took)));
        } else {
            self.done.push(Step {
                name: name.to_owned(),
                took,
                failure: None,
            });
        }
        result.with_context(|| format!("step `{name}` failed after {}", seconds(took)))
    }

    /// Runs a step that no other depends on: its error is kept for [`Steps::finish`].
    pub(crate) fn attempt(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        let (result, took) = self.time(name, step);
        if let Err(error) = &result {
            say(&format!("xtask {}: {name} failed: {error:#}", self.task));
        }
        self.done.push(Step {
            name: name.to_owned(),
            took,
            failure: result.err(),
        });
    }

    /// Prints how long each step took; fails if an attempted one failed, naming it.
    pub(crate) fn finish(self) -> Result<()> {
        self.summarise(None);
        let failed: Vec<&str> = self
            .done
            .iter()
            .filter(|step| step.failure.is_some())
            .map(|step| step.name.as_str())
            .collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }

    fn time<T>(&self, name: &str, step: impl FnOnce() -> Result<T>) -> (Result<T>, Duration) {
        say(&format!("xtask {}: {name}", self.task));
        let begun = Instant::now();
        let result = step();
        (result, begun.elapsed())
    }

    fn summarise(&self, last: Option<(&str, Duration)>) {
        say(&format!(
            "xtask {}: {} in all",
            self.task,
            seconds(self.begun.elapsed())
        ));
        for step in &self.done {
            let mark = if step.failure.is_some() { "FAILED" } else { "ok" };
            say(&format!("  {:>8}  {mark:<6}  {}", seconds(step.took), step.name));
        }
        if let Some((name, took)) = last {
            say(&format!("  {:>8}  FAILED  {name}", seconds(took)));
        }
    }
}

/// A duration as `12.3 s`.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_is_named_with_its_cause() {
        let mut steps = Steps::new("test");
        steps.run("first", || Ok(())).unwrap();

        let error = steps
            .run("second", || -> Result<()> { bail!("no compiler") })
            .unwrap_err();

        let message = format!("{error:#}");
        assert!(message.starts_with("step `second` failed after"), "{message}");
        assert!(message.ends_with("no compiler"), "{message}");
    }

    #[test]
    fn every_attempt_runs_and_the_failed_ones_are_named() {
        let mut steps = Steps::new("check");
        steps.attempt("format", || bail!("line 3"));
        steps.attempt("lints", || Ok(()));
        steps.attempt("licences", || bail!("GPL"));

        assert_eq!(steps.finish().unwrap_err().to_string(), "failed: format, licences");
    }
}
