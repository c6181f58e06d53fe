//! The times stamped on reports.
//!
//! The API refuses a report from more than 5 minutes ahead or 30 minutes ago, discards one
//! that is older than the stored row, and keeps the stored row at equal times. So times
//! follow the API's clock where ours is plainly wrong, and strictly increase for each
//! resource and adapter. They tell when a host began to look, not when it told: of two hosts,
//! that which looked first and tells late is discarded.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

/// A difference of the clocks up to this is left alone: answers travel, and `Date` has whole seconds.
const TOLERATED: SignedDuration = SignedDuration::from_mins(1);
/// The resolution of `Date`.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How far ahead of the API's clock a time may be to be accepted.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// When this many pairs are known, and again each time that those which still matter have doubled, those that can no
/// longer matter are forgotten.
const PAIRS: usize = 4096;
/// Our clock is trusted not to go back by more than this.
const STEP_BACK: SignedDuration = SignedDuration::from_hours(1);

/// Hands out times.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// What to add to our clock.
    offset: SignedDuration,
    /// By what the API's clock was learned last, and when.
    learned: Option<(Box<str>, Timestamp)>,
    /// The latest time of each resource's path and adapter.
    last: HashMap<(String, String), Timestamp>,
    /// How many pairs there may be until they are looked through. Looking is paid for by what came since.
    look_at: usize,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            offset: SignedDuration::ZERO,
            learned: None,
            last: HashMap::new(),
            look_at: PAIRS,
        }
    }
}

/// A time that was handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The time, in whole microseconds.
    pub(super) time: Timestamp,
    /// The time before it, to return to if this one was refused.
    previous: Option<Timestamp>,
    /// The correction that it was made with.
    offset: SignedDuration,
}

impl Stamp {
    /// As the API reads it.
    pub(super) fn text(&self) -> String {
        format!("{:.6}", self.time)
    }
}

impl Stamps {
    /// Learns the API's clock from the `Date` of an answer that arrived at `now`.
    pub(super) fn learn(&self, now: Timestamp, date: &str) {
        let mut inner = self.lock();
        // Many answers tell the same second.
        let is_known = |(text, at): &(Box<str>, Timestamp)| **text == *date && now.duration_since(*at).abs() < SECOND;
        if inner.learned.as_ref().is_some_and(is_known) {
            return;
        }
        let Ok(time) = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date) else {
            return;
        };
        inner.learned = Some((date.into(), now));
        let difference = time.duration_since(now);
        inner.offset = if difference.abs() > TOLERATED {
            difference
        } else {
            SignedDuration::ZERO
        };
    }

    /// A time for a report of what was so `as_of` then by our clock, later than all before for this resource and
    /// adapter, and than that of the row that it `replaces`.
    pub(super) fn next(&self, path: &str, adapter: &str, as_of: Timestamp, replaces: Option<Timestamp>) -> Stamp {
        let mut inner = self.lock();
        if inner.last.len() >= inner.look_at {
            let horizon = saturating_add(as_of, inner.offset - STEP_BACK);
            inner.last.retain(|_, last| *last > horizon);
            inner.look_at = PAIRS.max(2 * inner.last.len());
        }
        let offset = inner.offset;
        let as_of = microseconds(saturating_add(as_of, offset));
        let key = (path.to_owned(), adapter.to_owned());
        let previous = inner.last.get(&key).copied();
        let replaced = replaces.filter(|row| can_be_exceeded(*row, as_of));
        let time = match previous.max(replaced) {
            Some(last) if last >= as_of => microseconds(saturating_add(last, SignedDuration::from_micros(1))),
            Some(_) | None => as_of,
        };
        inner.last.insert(key, time);
        Stamp { time, previous, offset }
    }

    /// Takes a time back that the API refused, so that a wrong clock is not carried on.
    pub(super) fn refused(&self, path: &str, adapter: &str, stamp: Stamp) {
        let mut inner = self.lock();
        let key = (path.to_owned(), adapter.to_owned());
        if inner.last.get(&key) == Some(&stamp.time) {
            match stamp.previous {
                Some(previous) => inner.last.insert(key, previous),
                None => inner.last.remove(&key),
            };
        }
    }

    /// Whether the API's clock, as known now, is another than this time was made with.
    pub(super) fn outdated(&self, stamp: Stamp) -> bool {
        (self.lock().offset - stamp.offset).abs() > TOLERATED
    }

    /// Learns that a row with this time is stored: another host, or an earlier life of this
    /// one, may have sent it.
    pub(super) fn seen(&self, path: &str, adapter: &str, stored: &str, now: Timestamp) {
        let Ok(stored) = stored.parse::<Timestamp>() else {
            return;
        };
        let mut inner = self.lock();
        let now = saturating_add(now, inner.offset);
        // Of times in the past, those matter that were read before a report, which tells them.
        if stored <= now || !can_be_exceeded(stored, now) {
            return;
        }
        let last = inner
            .last
            .entry((path.to_owned(), adapter.to_owned()))
            .or_insert(stored);
        *last = (*last).max(stored);
    }

    /// Forgets a resource that is gone.
    pub(super) fn forget(&self, path: &str) {
        self.lock().last.retain(|(known, _), _| known != path);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a later time would be accepted.
fn can_be_exceeded(time: Timestamp, now: Timestamp) -> bool {
    time.duration_since(now) < AHEAD
}

fn saturating_add(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(time)
}

fn microseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics fails")]

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOON: &str = "2026-08-21T12:00:00.123456789Z";

    #[test]
    fn times_strictly_increase_while_the_clock_stands_still_or_goes_back() {
        let stamps = Stamps::default();
        let texts: Vec<String> = [NOON, NOON, "2026-08-21T11:59:00Z", "2026-08-21T12:00:01Z"]
            .into_iter()
            .map(|now| stamps.next("/api/x", "dns", at(now), None).text())
            .collect();

        assert_eq!(
            texts,
            [
                "2026-08-21T12:00:00.123456Z",
                "2026-08-21T12:00:00.123457Z",
                "2026-08-21T12:00:00.123458Z",
                "2026-08-21T12:00:01.000000Z",
            ]
        );
        assert_eq!(
            stamps.next("/api/x", "other", at("2026-08-21T11:00:00Z"), None).text(),
            "2026-08-21T11:00:00.000000Z"
        );
    }

    #[test]
    fn a_clock_that_is_plainly_wrong_is_corrected_and_a_little_difference_is_not() {
        let stamps = Stamps::default();
        stamps.learn(at(NOON), "Fri, 21 Aug 2026 12:00:59 GMT");
        assert_eq!(
            stamps.next("/api/x", "dns", at(NOON), None).text(),
            "2026-08-21T12:00:00.123456Z"
        );

        stamps.learn(at(NOON), "Fri, 21 Aug 2026 13:00:00 GMT");
        assert_eq!(
            stamps.next("/api/x", "dns", at(NOON), None).text(),
            "2026-08-21T13:00:00.000000Z"
        );

        stamps.learn(at(NOON), "not a date");
        assert_eq!(
            stamps.next("/api/y", "dns", at(NOON), None).text(),
            "2026-08-21T13:00:00.000000Z"
        );
    }

    #[test]
    fn a_refused_time_is_not_carried_on() {
        let stamps = Stamps::default();
        let ahead = stamps.next("/api/x", "dns", at("2026-08-21T18:00:00Z"), None);
        stamps.learn(at("2026-08-21T18:00:00Z"), "Fri, 21 Aug 2026 12:00:00 GMT");
        assert!(stamps.outdated(ahead));
        stamps.refused("/api/x", "dns", ahead);

        assert_eq!(
            stamps.next("/api/x", "dns", at("2026-08-21T18:00:00Z"), None).text(),
            "2026-08-21T12:00:00.000000Z"
        );
    }

    #[test]
    fn a_stored_row_from_a_clock_a_little_ahead_is_exceeded() {
        let stamps = Stamps::default();
        stamps.seen("/api/x", "dns", "2026-08-21T12:00:30.5Z", at(NOON));
        stamps.seen("/api/x", "far", "2026-08-21T14:00:00Z", at(NOON));

        assert_eq!(
            stamps.next("/api/x", "dns", at(NOON), None).text(),
            "2026-08-21T12:00:30.500001Z"
        );
        assert_eq!(
            stamps.next("/api/x", "far", at(NOON), None).text(),
            "2026-08-21T12:00:00.123456Z"
        );
    }

    #[test]
    fn a_row_that_was_read_is_exceeded_however_long_ago_the_look_began() {
        let stamps = Stamps::default();
        let next = |adapter, row: &str| stamps.next("/api/x", adapter, at(NOON), Some(at(row))).text();
        assert_eq!(
            next("later", "2026-08-21T12:00:02.000001Z"),
            "2026-08-21T12:00:02.000002Z"
        );
        assert_eq!(
            next("same", "2026-08-21T12:00:00.123456Z"),
            "2026-08-21T12:00:00.123457Z"
        );
        assert_eq!(next("earlier", "2026-08-21T11:59:00Z"), "2026-08-21T12:00:00.123456Z");
        assert_eq!(next("far ahead", "2026-08-21T14:00:00Z"), "2026-08-21T12:00:00.123456Z");
    }

    #[test]
    fn pairs_that_cannot_matter_any_more_are_forgotten() {
        let stamps = Stamps::default();
        for number in 0..PAIRS {
            stamps.next(&format!("/api/{number}"), "dns", at(NOON), None);
        }
        stamps.next("/api/last", "dns", at("2026-08-21T14:00:00Z"), None);

        assert_eq!(stamps.lock().last.len(), 1);
    }

    #[test]
    fn pairs_that_all_matter_are_not_looked_through_again_and_again() {
        let stamps = Stamps::default();
        let mut looks = Vec::new();
        for number in 0..8 * PAIRS {
            let before = stamps.lock().look_at;
            stamps.next(&format!("/api/{number}"), "dns", at(NOON), None);
            if stamps.lock().look_at != before {
                looks.push(number);
            }
        }
        assert_eq!(looks, [PAIRS, 2 * PAIRS, 4 * PAIRS]);

        stamps.next("/api/late", "dns", at("2026-08-21T14:00:00Z"), None);
        assert_eq!(stamps.lock().last.len(), 1, "8 times as many are looked through");
        assert_eq!(stamps.lock().look_at, PAIRS);
    }
}
