//! What is wrong in a document, in words that help to mend it.
//!
//! Owns the wording of "did you mean". Never decides what is wrong: the checks do.

use berth_sdk::Problem;

/// A problem before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// What is wrong.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

impl Flaw {
    /// A flaw without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same at a place.
    #[must_use]
    pub fn at(self, path: impl Into<String>) -> Problem {
        Problem {
            path: path.into(),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// A hint for a name that does not exist: the known name that resembles it, or all of them.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    did_you_mean_after("", name, known)
}

/// The same for names that are written after a prefix, such as a dot.
pub(crate) fn did_you_mean_after<'a>(
    prefix: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let lower = name.to_lowercase();
    let nearest = known
        .clone()
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 2 && *distance < candidate.len());
    match nearest {
        Some((_, candidate)) => format!("did you mean `{prefix}{candidate}`?"),
        None => {
            let all: Vec<_> = known.into_iter().map(|name| format!("`{prefix}{name}`")).collect();
            format!("known are {}", all.join(", "))
        }
    }
}

/// The number of single-character edits between two texts.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let cost = usize::from(x != *y);
            let best = (diagonal + cost).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_guessed_from_a_typing_error() {
        assert_eq!(did_you_mean("subjet", ["owner", "subject"]), "did you mean `subject`?");
        assert_eq!(did_you_mean("Subject", ["owner", "subject"]), "did you mean `subject`?");
    }

    #[test]
    fn all_names_are_told_when_none_resembles() {
        assert_eq!(
            did_you_mean("cluster", ["owner", "subject"]),
            "known are `owner`, `subject`"
        );
    }

    #[test]
    fn the_distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
