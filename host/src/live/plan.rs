//! What is to be done, from what is live and what is wanted. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// What a document and its plugins are: equal versions need nothing done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// The digest of what the document means; comments are no part of it.
    pub(super) document: String,
    /// Each plugin by its name in the document: its digest, or why it cannot be used.
    pub(super) plugins: BTreeMap<String, Result<String, String>>,
}

impl Version {
    fn is_usable(&self) -> bool {
        self.plugins.values().all(Result::is_ok)
    }
}

/// How an adapter stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// What is live.
    pub(super) live: Option<Version>,
    /// What was tried last and refused.
    pub(super) refused: Option<(Version, Again)>,
}

/// When something that was refused is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// When it changes.
    Changed,
    /// At this time.
    At(Timestamp),
}

/// What the folder holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// Documents that can be read, by their adapter.
    pub(super) documents: BTreeMap<String, Version>,
    /// Adapters whose document is there, but cannot be read or contradicts another.
    pub(super) unreadable: BTreeSet<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Load the document with its plugins, and put it in the place of what is live.
    Load(String),
    /// Note that the document cannot be live as its plugins are now.
    Refuse(String),
    /// The document is again what is live: what was refused is forgotten.
    Settle(String),
    /// The document was taken away: the adapter ends, its objects stay.
    Remove(String),
}

/// Compares. An adapter that needs nothing done has no action.
pub(super) fn plan(standing: &BTreeMap<String, Standing>, wanted: &Wanted, now: Timestamp) -> Vec<Action> {
    let gone = standing
        .keys()
        .filter(|name| !wanted.documents.contains_key(*name) && !wanted.unreadable.contains(*name))
        .map(|name| Action::Remove(name.clone()));
    let there = wanted
        .documents
        .iter()
        .filter_map(|(name, version)| one(name, standing.get(name), version, now));
    gone.chain(there).collect()
}

fn one(name: &str, standing: Option<&Standing>, version: &Version, now: Timestamp) -> Option<Action> {
    let live = standing.and_then(|one| one.live.as_ref());
    let refused = standing.and_then(|one| one.refused.as_ref());
    if live == Some(version) {
        return refused.map(|_| Action::Settle(name.to_owned()));
    }
    if let Some((tried, again)) = refused
        && tried == version
        && (*again == Again::Changed || matches!(again, Again::At(time) if *time > now))
    {
        return None;
    }
    Some(if version.is_usable() {
        Action::Load(name.to_owned())
    } else {
        Action::Refuse(name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn version(document: &str, plugin: Result<&str, &str>) -> Version {
        let plugin = plugin.map(str::to_owned).map_err(str::to_owned);
        Version {
            document: document.to_owned(),
            plugins: [("lz".to_owned(), plugin)].into(),
        }
    }

    fn wanted(version: Version) -> Wanted {
        Wanted {
            documents: [("a".to_owned(), version)].into(),
            unreadable: BTreeSet::new(),
        }
    }

    fn standing(live: Option<Version>, refused: Option<(Version, Again)>) -> BTreeMap<String, Standing> {
        [("a".to_owned(), Standing { live, refused })].into()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn decided(standing: &BTreeMap<String, Standing>, wanted: &Wanted) -> String {
        let told: Vec<String> = plan(standing, wanted, at(100))
            .iter()
            .map(|action| format!("{action:?}"))
            .collect();
        told.join(" ")
    }

    #[test]
    fn what_is_new_or_changed_is_loaded_and_what_is_live_is_left_alone() {
        let one = version("1", Ok("x"));
        let live = standing(Some(one.clone()), None);
        assert_eq!(decided(&BTreeMap::new(), &wanted(one.clone())), r#"Load("a")"#);
        assert_eq!(decided(&live, &wanted(one)), "");
        assert_eq!(decided(&live, &wanted(version("2", Ok("x")))), r#"Load("a")"#);
        assert_eq!(decided(&live, &wanted(version("1", Ok("y")))), r#"Load("a")"#);
    }

    #[test]
    fn a_document_that_is_taken_away_ends_and_one_that_is_broken_stays() {
        let live = standing(Some(version("1", Ok("x"))), None);
        assert_eq!(decided(&live, &Wanted::default()), r#"Remove("a")"#);
        let broken = Wanted {
            unreadable: ["a".to_owned()].into(),
            ..Wanted::default()
        };
        assert_eq!(decided(&live, &broken), "");
    }

    #[test]
    fn what_was_refused_is_tried_again_when_it_changes_or_its_time_comes() {
        let bad = version("2", Ok("x"));
        let refused = |again| standing(Some(version("1", Ok("x"))), Some((bad.clone(), again)));
        assert_eq!(decided(&refused(Again::Changed), &wanted(bad.clone())), "");
        assert_eq!(decided(&refused(Again::At(at(101))), &wanted(bad.clone())), "");
        assert_eq!(
            decided(&refused(Again::At(at(100))), &wanted(bad.clone())),
            r#"Load("a")"#
        );
        assert_eq!(
            decided(&refused(Again::Changed), &wanted(version("3", Ok("x")))),
            r#"Load("a")"#
        );
        assert_eq!(
            decided(&refused(Again::Changed), &wanted(version("1", Ok("x")))),
            r#"Settle("a")"#
        );
    }

    #[test]
    fn a_plugin_that_cannot_be_used_refuses_its_document_once() {
        let missing = version("1", Err("no such file"));
        assert_eq!(decided(&BTreeMap::new(), &wanted(missing.clone())), r#"Refuse("a")"#);
        let told = standing(None, Some((missing.clone(), Again::Changed)));
        assert_eq!(decided(&told, &wanted(missing)), "");
        assert_eq!(decided(&told, &wanted(version("1", Ok("x")))), r#"Load("a")"#);
    }
}
