//! Messages of one ordering key go one after the other, others side by side.

use std::collections::{HashMap, VecDeque};

/// Who waits for whom. A message without a key waits for nobody.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    /// Keys of which one is worked on, and those that came meanwhile.
    waiting: HashMap<String, VecDeque<T>>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
        }
    }
}

impl<T> Lanes<T> {
    /// Gives an item back if it may be worked on now; else it waits for those of its key.
    pub(super) fn enter(&mut self, key: &str, item: T) -> Option<T> {
        if key.is_empty() {
            return Some(item);
        }
        match self.waiting.get_mut(key) {
            Some(waiting) => {
                waiting.push_back(item);
                None
            }
            None => {
                self.waiting.insert(key.to_owned(), VecDeque::new());
                Some(item)
            }
        }
    }

    /// One of a key is done: the one that follows it.
    pub(super) fn next(&mut self, key: &str) -> Option<T> {
        let next = self.waiting.get_mut(key)?.pop_front();
        if next.is_none() {
            self.waiting.remove(key);
        }
        next
    }

    /// One of a key is not done: all that wait for it.
    pub(super) fn close(&mut self, key: &str) -> VecDeque<T> {
        self.waiting.remove(key).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_key_go_one_after_the_other_and_others_side_by_side() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        assert_eq!(lanes.enter("a", 2), None);
        assert_eq!(lanes.enter("a", 3), None);
        assert_eq!(lanes.enter("b", 4), Some(4));
        assert_eq!(lanes.enter("", 5), Some(5));
        assert_eq!(lanes.enter("", 6), Some(6));
        assert_eq!(lanes.next("a"), Some(2));
        assert_eq!(lanes.next("a"), Some(3));
        assert_eq!(lanes.next("a"), None);
        assert_eq!(lanes.next(""), None);
        assert_eq!(lanes.enter("a", 7), Some(7), "nobody of the key is left");
    }

    #[test]
    fn when_one_is_given_back_all_later_ones_of_its_key_are() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        assert_eq!(lanes.enter("a", 2), None);
        assert_eq!(lanes.enter("b", 3), Some(3));
        assert_eq!(lanes.enter("b", 4), None);
        assert_eq!(lanes.close("a"), [2]);
        assert_eq!(lanes.enter("a", 1), Some(1), "it comes again");
        assert_eq!(lanes.next("b"), Some(4));
    }
}
