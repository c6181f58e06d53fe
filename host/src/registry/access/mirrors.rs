//! Which repositories stand in for another.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::registry::remote::{Fault, Repository};

/// For so long a mirror that did not answer is not asked again.
const REST: Duration = Duration::from_secs(60);

/// Where copies of what begins with a prefix are: `registry.example.com/partners` → `mirror.internal:5000/copies`.
pub type Mirrors = BTreeMap<String, Vec<String>>;

/// Where to look for a repository, in order: the mirrors of the longest prefix that fits, then itself.
///
/// What follows the prefix is appended to the mirror. A mirror under which no repository can have
/// that name is left out.
#[must_use]
pub(crate) fn candidates(mirrors: &Mirrors, repository: &Repository) -> Vec<Repository> {
    let name = repository.to_string();
    let fits = |prefix: &str| {
        name.strip_prefix(prefix.trim_end_matches('/'))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .map(str::to_owned)
    };
    let longest = mirrors
        .iter()
        .filter_map(|(prefix, to)| Some((prefix.len(), to, fits(prefix)?)))
        .max_by_key(|(length, _, _)| *length);
    let mut candidates: Vec<Repository> = Vec::new();
    for target in longest.iter().flat_map(|(_, to, rest)| {
        to.iter()
            .map(move |mirror| format!("{}{rest}", mirror.trim_end_matches('/')))
    }) {
        if let Ok(repository) = target.parse() {
            candidates.push(repository);
        }
    }
    candidates.push(repository.clone());
    candidates.dedup();
    candidates
}

/// Mirrors that did not answer, and until when they are left alone.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<BTreeMap<String, Instant>>);

impl Resting {
    /// Whether this mirror is left alone now.
    pub(super) fn has(&self, mirror: &str, now: Instant) -> bool {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.retain(|_, until| *until > now);
        until.contains_key(mirror)
    }

    /// Notes why a mirror gave nothing. Tells whether it is left alone for it: where it did answer, it is not.
    pub(super) fn note(&self, mirror: &str, fault: &Fault, now: Instant) -> bool {
        let rests = fault.is_transient() || matches!(fault, Fault::Tls { .. });
        if rests {
            let rest = fault.retry_after().unwrap_or_default().max(REST);
            let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            until.insert(mirror.to_owned(), now + rest);
        }
        rests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_of_whole_words_is_rewritten_and_the_origin_comes_last() {
        let mirrors: Mirrors = [
            ("registry.example.com", vec!["mirror.internal:5000"]),
            (
                "registry.example.com/partners",
                vec!["a.internal/copies/p", "b.internal/"],
            ),
        ]
        .into_iter()
        .map(|(prefix, to)| (prefix.to_owned(), to.into_iter().map(str::to_owned).collect()))
        .collect();
        for (repository, expected) in [
            (
                "registry.example.com/partners/lz",
                "a.internal/copies/p/lz b.internal/lz registry.example.com/partners/lz",
            ),
            (
                "registry.example.com/partnersx/lz",
                "mirror.internal:5000/partnersx/lz registry.example.com/partnersx/lz",
            ),
            // `b.internal` alone names no repository.
            (
                "registry.example.com/partners",
                "a.internal/copies/p registry.example.com/partners",
            ),
            ("registry.example.com.evil.org/lz", "registry.example.com.evil.org/lz"),
            ("other.example.com/lz", "other.example.com/lz"),
        ] {
            let told: Vec<String> = candidates(&mirrors, &repository.parse().unwrap())
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(told.join(" "), expected, "{repository}");
        }
    }
}
