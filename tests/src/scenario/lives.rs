//! The subjects: how each is created, changed and deleted, and what is wanted of it at the end.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Result, anyhow};
use berth::simulate::fleet::{Kind, Simulation};
use berth_engine::subject::{SubjectKey, SubjectRef};
use serde_json::{Value, json};

use super::time::Time;

/// One subject, as whoever ordered it knows it.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) id: String,
    pub(super) path: String,
    /// The place of its cluster in the list of all.
    pub(super) owner: Option<usize>,
    pub(super) spec: Value,
    /// The specs of all generations, the first one first.
    pub(super) specs: Vec<Value>,
    pub(super) generation: u32,
    pub(super) deleted: bool,
}

impl Subject {
    pub(super) fn key(&self) -> SubjectKey {
        SubjectKey {
            kind: self.kind.name().to_owned(),
            id: self.id.clone(),
        }
    }

    /// What was ordered in a generation; null where there was none such.
    pub(super) fn spec_of(&self, generation: u32) -> &Value {
        let place = usize::try_from(generation).ok().and_then(|one| one.checked_sub(1));
        place.and_then(|place| self.specs.get(place)).unwrap_or(&Value::Null)
    }

    /// The subject as a trigger names it that knows no generation.
    pub(super) fn reference(&self) -> SubjectRef {
        SubjectRef {
            key: self.key(),
            href: self.path.clone(),
            generation: 0,
            owner: None,
        }
    }
}

/// All subjects that were ever created. Clones are the same.
#[derive(Clone)]
pub(super) struct Lives {
    time: Time,
    hyperfleet: Arc<Simulation>,
    all: Arc<Mutex<Vec<Subject>>>,
}

impl Lives {
    pub(super) fn new(time: Time, hyperfleet: Arc<Simulation>) -> Self {
        Self {
            time,
            hyperfleet,
            all: Arc::default(),
        }
    }

    pub(super) fn all(&self) -> Vec<Subject> {
        self.lock().clone()
    }

    /// One that was created, by chance.
    pub(super) fn any(&self) -> Option<Subject> {
        let all = self.lock();
        (!all.is_empty()).then(|| all[self.time.below(all.len())].clone())
    }

    /// One life from creation to its last change, within `span`.
    pub(super) async fn live(&self, number: usize, is_cluster: bool, span: Duration) -> Result<()> {
        let begin = span.mul_f64(self.time.fraction() * 0.6);
        let pause = |time: &Time| time.between(0.02, 0.13) * u32::try_from(span.as_secs()).unwrap_or(u32::MAX);
        self.time.sleep(begin).await;
        let place = if is_cluster {
            self.create(Kind::Cluster, None, &format!("cluster-{number}"))?
        } else {
            match self.some_cluster() {
                Some(owner) => self.create(Kind::NodePool, Some(owner), &format!("pool-{number}"))?,
                // There is none to put it into: it is a cluster then.
                None => self.create(Kind::Cluster, None, &format!("cluster-{number}"))?,
            }
        };
        for _ in 0..self.time.below(3) {
            self.time.sleep(pause(&self.time)).await;
            self.change(place)?;
        }
        if self.time.happens(350) {
            self.time.sleep(pause(&self.time)).await;
            self.delete(place)?;
        }
        Ok(())
    }

    /// Deletes all that live.
    pub(super) fn end(&self) -> Result<()> {
        let count = self.lock().len();
        (0..count).try_for_each(|place| self.delete(place))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Subject>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn some_cluster(&self) -> Option<usize> {
        let all = self.lock();
        let alive = |one: &Subject| one.kind == Kind::Cluster && !one.deleted;
        let places: Vec<usize> = (0..all.len()).filter(|place| alive(&all[*place])).collect();
        (!places.is_empty()).then(|| places[self.time.below(places.len())])
    }

    fn spec(&self, kind: Kind) -> Value {
        let version = self.time.below(1_000_000);
        match kind {
            Kind::Cluster => json!({
                "provider": if self.time.happens(80) { "other" } else { "gcp" },
                "outcome": if self.time.happens(150) { "fail" } else { "ok" },
                "version": version,
            }),
            Kind::NodePool => json!({"nodes": if self.time.happens(100) { 0 } else { 3 }, "version": version}),
        }
    }

    fn create(&self, kind: Kind, owner: Option<usize>, name: &str) -> Result<usize> {
        let spec = self.spec(kind);
        let path = owner.map(|place| self.lock()[place].path.clone());
        let created = self
            .hyperfleet
            .with(|state, now| state.create(now, kind, path.as_deref(), name, &spec));
        let created = created.map_err(|refusal| told("create", name, &refusal.body))?;
        let text = |field: &str| created[field].as_str().unwrap_or_default().to_owned();
        let mut all = self.lock();
        all.push(Subject {
            kind,
            id: text("id"),
            path: text("href"),
            owner,
            specs: vec![spec.clone()],
            spec,
            generation: 1,
            deleted: false,
        });
        Ok(all.len() - 1)
    }

    fn change(&self, place: usize) -> Result<()> {
        let subject = self.lock()[place].clone();
        if subject.deleted {
            return Ok(());
        }
        let spec = self.spec(subject.kind);
        let changed = self
            .hyperfleet
            .with(|state, now| state.patch(now, &subject.path, &json!({"spec": spec})));
        changed.map_err(|refusal| told("change", &subject.path, &refusal.body))?;
        let mut all = self.lock();
        if all[place].spec != spec {
            all[place].generation += 1;
            all[place].specs.push(spec.clone());
        }
        all[place].spec = spec;
        Ok(())
    }

    fn delete(&self, place: usize) -> Result<()> {
        let subject = self.lock()[place].clone();
        if subject.deleted {
            return Ok(());
        }
        let deleted = self.hyperfleet.with(|state, now| state.delete(now, &subject.path));
        deleted.map_err(|refusal| told("delete", &subject.path, &refusal.body))?;
        for (other, one) in self.lock().iter_mut().enumerate() {
            if other == place || one.owner == Some(place) {
                one.deleted = true;
            }
        }
        Ok(())
    }
}

fn told(what: &str, which: &str, body: &[u8]) -> anyhow::Error {
    anyhow!(
        "the simulated API refuses to {what} {which}: {}",
        String::from_utf8_lossy(body)
    )
}
