//! The pairs that are ready, in line, and who of them has a slot.
//!
//! Adapters take turns. Within one, events come before changes and timers, and subjects that were slow stand in
//! lanes of their own, so that there are always slots that they do not hold.

use std::collections::{BTreeMap, VecDeque};

use super::Pair;
use crate::subject::SubjectKey;

/// So many events in a row have their turn before a change or a timer has.
const EVENTS_IN_A_ROW: u8 = 3;

/// What pairs of one adapter stand in line by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lane {
    /// An event began it, or somebody by hand.
    pub(super) is_event: bool,
    /// Its last run was slow.
    pub(super) is_slow: bool,
}

/// Where a pair stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) lane: Lane,
    number: u64,
}

/// The pairs of one adapter that are ready, each lane in the order in which they came.
#[derive(Debug, Default)]
struct Ready {
    lanes: [[BTreeMap<u64, SubjectKey>; 2]; 2],
    events_in_a_row: u8,
}

impl Ready {
    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<u64, SubjectKey> {
        let [others, events] = &mut self.lanes;
        let [swift, slow] = if lane.is_event { events } else { others };
        if lane.is_slow { slow } else { swift }
    }

    fn len(&self) -> usize {
        self.lanes.iter().flatten().map(BTreeMap::len).sum()
    }

    /// The lane whose first came first, of events or of the others.
    fn first(&self, is_event: bool, has_room_for_slow: bool) -> Option<Lane> {
        let [others, events] = &self.lanes;
        let [swift, slow] = if is_event { events } else { others };
        let first = |lane: &BTreeMap<u64, SubjectKey>| lane.keys().next().copied();
        let swift = first(swift).map(|place| (place, false));
        let slow = first(slow).filter(|_| has_room_for_slow).map(|place| (place, true));
        let (_, is_slow) = swift.into_iter().chain(slow).min()?;
        Some(Lane { is_event, is_slow })
    }

    /// Whose turn it is, if anybody's.
    fn pop(&mut self, has_room_for_slow: bool) -> Option<SubjectKey> {
        let event = self.first(true, has_room_for_slow);
        let other = self.first(false, has_room_for_slow);
        let lane = match (event, other) {
            (Some(_), Some(other)) if self.events_in_a_row >= EVENTS_IN_A_ROW => other,
            (Some(event), _) => event,
            (None, other) => other?,
        };
        self.events_in_a_row = if lane.is_event {
            self.events_in_a_row.saturating_add(1)
        } else {
            0
        };
        self.lane(lane).pop_first().map(|(_, subject)| subject)
    }
}

/// The line.
#[derive(Debug)]
pub(super) struct Line {
    /// How many run at a time.
    slots: usize,
    ready: BTreeMap<String, Ready>,
    /// The number of the next place.
    next: u64,
    /// Whose turn it is: the adapters with pairs that are ready.
    turns: VecDeque<String>,
    /// How many run, of each adapter and of the slow.
    running: BTreeMap<String, usize>,
    running_slow: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            slots: usize::MAX,
            ready: BTreeMap::new(),
            next: 0,
            turns: VecDeque::new(),
            running: BTreeMap::new(),
            running_slow: 0,
        }
    }
}

impl Line {
    pub(super) fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// Has a pair stand in a lane, with the place that it had `before`.
    pub(super) fn stand(&mut self, pair: &Pair, lane: Lane, before: Option<Place>) -> Place {
        let number = before.map_or(self.next, |place| place.number);
        let place = Place { lane, number };
        if before == Some(place) {
            return place;
        }
        let ready = self.ready.entry(pair.adapter.clone()).or_default();
        match before {
            Some(before) => drop(ready.lane(before.lane).remove(&before.number)),
            None => self.next += 1,
        }
        if before.is_none() && ready.len() == 0 {
            self.turns.push_back(pair.adapter.clone());
        }
        ready.lane(lane).insert(number, pair.subject.clone());
        place
    }

    /// Whose turn it is: of adapters that hold their share of the slots only where no other waits.
    pub(super) fn pop(&mut self) -> Option<Pair> {
        self.turn(true).or_else(|| self.turn(false))
    }

    fn turn(&mut self, shares: bool) -> Option<Pair> {
        let most = share(self.slots);
        let has_room_for_slow = self.running_slow < most;
        let (index, subject) = self.turns.iter().enumerate().find_map(|(index, adapter)| {
            let holds = self.running.get(adapter).copied().unwrap_or_default();
            if shares && holds >= most {
                return None;
            }
            let subject = self.ready.get_mut(adapter)?.pop(has_room_for_slow)?;
            Some((index, subject))
        })?;
        let adapter = self.turns.remove(index)?;
        if self.ready.get(&adapter).is_some_and(|ready| ready.len() > 0) {
            self.turns.push_back(adapter.clone());
        } else {
            self.ready.remove(&adapter);
        }
        Some(Pair { adapter, subject })
    }

    /// A run takes a slot.
    pub(super) fn begin(&mut self, adapter: &str, is_slow: bool) {
        *self.running.entry(adapter.to_owned()).or_default() += 1;
        self.running_slow += usize::from(is_slow);
    }

    /// A run gives its slot back.
    pub(super) fn end(&mut self, adapter: &str, was_slow: bool) {
        self.running_slow -= usize::from(was_slow);
        if let Some(running) = self.running.get_mut(adapter) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(adapter);
            }
        }
    }

    /// Nobody of an adapter stands in line any more. What runs keeps its slot.
    pub(super) fn leave(&mut self, adapter: &str) {
        self.ready.remove(adapter);
        self.turns.retain(|turn| turn != adapter);
    }

    /// Nobody stands in line any more. What runs keeps its slot.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.turns.clear();
    }

    /// How many stand in line, and how many run.
    pub(super) fn depth(&self) -> (usize, usize) {
        (self.ready.values().map(Ready::len).sum(), self.running.values().sum())
    }
}

/// How many of the slots one adapter, or all slow subjects, may hold.
fn share(slots: usize) -> usize {
    slots - slots / 4
}
