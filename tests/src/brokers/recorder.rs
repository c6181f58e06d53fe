//! A sink that remembers, and answers as it is told.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use berth::source::{Settled, Sink};
use berth_engine::subject::Event;
use tokio::sync::watch;

/// What it heard, and what it will say.
#[derive(Debug)]
pub struct Recorder {
    heard: Mutex<Vec<Event>>,
    aside: Mutex<Vec<&'static str>>,
    answers: Mutex<VecDeque<Settled>>,
    open: watch::Sender<bool>,
    most: Mutex<(usize, usize)>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            heard: Mutex::default(),
            aside: Mutex::default(),
            answers: Mutex::default(),
            open: watch::Sender::new(true),
            most: Mutex::default(),
        }
    }
}

impl Recorder {
    /// The next events are answered so; all later ones are done.
    pub fn will_answer(&self, answers: impl IntoIterator<Item = Settled>) {
        lock(&self.answers).extend(answers);
    }

    /// The next so many events must come again, soon.
    pub fn will_retry(&self, events: usize) {
        let after = Duration::from_millis(100);
        let counts = false;
        self.will_answer(std::iter::repeat_n(Settled::Retry { after, counts }, events));
    }

    /// The next so many events fail by themselves.
    pub fn will_fail(&self, events: usize) {
        let after = Duration::from_millis(100);
        let counts = true;
        self.will_answer(std::iter::repeat_n(Settled::Retry { after, counts }, events));
    }

    /// Answers nothing until it is opened.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Answers again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// The ids of the subjects of all events so far, in order.
    #[must_use]
    pub fn subjects(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.subject.key.id).collect()
    }

    /// All events so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        lock(&self.heard).clone()
    }

    /// Why messages were set aside so far.
    #[must_use]
    pub fn aside(&self) -> Vec<&'static str> {
        lock(&self.aside).clone()
    }

    /// The most events that were unanswered at once.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        lock(&self.most).1
    }
}

#[async_trait]
impl Sink for Recorder {
    async fn accept(&self, event: Event) -> Settled {
        lock(&self.heard).push(event);
        {
            let mut most = lock(&self.most);
            most.0 += 1;
            most.1 = most.1.max(most.0);
        }
        let answer = lock(&self.answers).pop_front().unwrap_or(Settled::Done);
        drop(self.open.subscribe().wait_for(|open| *open).await);
        lock(&self.most).0 -= 1;
        answer
    }

    fn refused(&self, reason: &'static str) {
        lock(&self.aside).push(reason);
    }

    fn set_aside(&self, reason: &'static str) {
        lock(&self.aside).push(reason);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
