//! The questions that a plugin can be asked: one trait each.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Answer, Draft, Facts, Failure, Json, Object, Outcome, Plan, Problem, StatusAnswer, Verdict};

/// Checks and prepares the configuration, once, when the adapter is loaded.
///
/// Phases get what it returns by [`Facts::prepared`], so that nothing is checked again for
/// every event. A plugin that has a form of its own for that implements [`RawSetup`] instead.
pub trait Setup {
    /// The configuration as it is written in the adapter document. Unknown keys are found if
    /// it is marked `#[serde(deny_unknown_fields)]`.
    type Config: DeserializeOwned;
    /// What the phases need of it.
    type Prepared: Serialize + DeserializeOwned;

    /// Checks `config` and prepares it.
    ///
    /// # Errors
    /// Every problem found, so that all can be mended at once; the adapter is then refused.
    fn prepare(config: Self::Config) -> Result<Self::Prepared, Vec<Problem>>;
}

/// Like [`Setup`], with the document and the bytes as they are.
pub trait RawSetup {
    /// Checks `config` and returns what the phases see as the bytes of [`Facts::prepared`](struct@Facts).
    ///
    /// # Errors
    /// Every problem found; the adapter is then refused.
    fn prepare_raw(config: &Json) -> Result<Vec<u8>, Vec<Problem>>;
}

impl<T: Setup> RawSetup for T {
    fn prepare_raw(config: &Json) -> Result<Vec<u8>, Vec<Problem>> {
        let config = serde_json::from_str(config.text()).map_err(|error| vec![Problem::new("", error.to_string())])?;
        let prepared = T::prepare(config)?;
        serde_json::to_vec(&prepared).map_err(|error| {
            vec![Problem::new(
                "",
                format!("what was prepared cannot be written: {error}"),
            )]
        })
    }
}

/// One of the four phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// [`Preconditions`].
    Preconditions,
    /// [`Resources`].
    Resources,
    /// [`Postconditions`].
    Postconditions,
    /// [`Status`].
    Status,
}

/// What differs between reconciles although nothing may have changed, and answers vary by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VaryBy {
    /// [`Facts::trigger`](struct@Facts).
    pub trigger: bool,
    /// What HyperFleet itself writes into the subject's document: its `status`, and `updated_time`.
    pub subject_status: bool,
    /// [`Facts::statuses`](struct@Facts).
    pub statuses: bool,
    /// The owner of [`Facts::subject`](struct@Facts).
    pub owner: bool,
    /// [`Facts::now`](struct@Facts).
    pub now: bool,
    /// [`Facts::seed`](struct@Facts).
    pub seed: bool,
}

/// Says what the answers vary by, so that berth can give an answer again instead of asking.
///
/// Whoever implements it promises that two questions have the same answer that differ only in what is not named here.
pub trait Vary {
    /// What the answers of a phase vary by; [`VaryBy::default`] is nothing. Asked once, when the adapter is loaded.
    /// `prepared` are the bytes that [`RawSetup`] returned, or what [`Setup`] did as JSON; else empty.
    fn vary(prepared: &[u8], phase: Phase) -> VaryBy;
}

/// Decides whether the adapter may act on the subject now.
pub trait Preconditions {
    /// Decides.
    ///
    /// # Errors
    /// A defect of the plugin or of what it depends on; it is reported as `Health=False`.
    /// "Not yet" is no error but [`Verdict::Wait`].
    fn preconditions(facts: &Facts) -> Result<Answer<Verdict>, Failure>;
}

/// Plans the Kubernetes objects that do the work.
pub trait Resources {
    /// Plans. `objects` is what the adapter owns for this subject, and from the second round
    /// on also what its queries found.
    ///
    /// In a deletion (`facts.subject.deleting`) what no round mentions is deleted.
    ///
    /// # Errors
    /// A defect of the plugin or of what it depends on; it is reported as `Health=False`.
    fn resources(facts: &Facts, objects: &[Object]) -> Result<Answer<Plan>, Failure>;
}

/// Decides whether the work is done.
pub trait Postconditions {
    /// Decides over the objects as observed.
    ///
    /// # Errors
    /// A defect of the plugin or of what it depends on; it is reported as `Health=False`.
    /// Work that failed is no error but [`Outcome::Failed`].
    fn postconditions(facts: &Facts, objects: &[Object]) -> Result<Answer<Outcome>, Failure>;
}

/// Says what to report.
pub trait Status {
    /// Says what to report, in every case, also when an earlier phase failed or waits.
    ///
    /// # Errors
    /// A defect of the plugin or of what it depends on; the draft is then reported, with `Health=False`.
    fn status(facts: &Facts, objects: &[Object], draft: &Draft) -> Result<StatusAnswer, Failure>;
}
