//! The checked configuration: what `setup` hands to the phases.
//!
//! Guarantees that whatever a phase evaluates has passed every check. Nothing but the texts of templates is parsed
//! again per event.

use berth_sdk::{Phase, VaryBy};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    config::{During, Otherwise},
    expression::Expression,
    reads::Reads,
    template::Template,
};

/// The checked configuration, each phase by itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    /// Of preconditions.
    pub preconditions: Part<Vec<Precondition>>,
    /// Of resources.
    pub resources: Part<Vec<Resource>>,
    /// Of postconditions.
    pub postconditions: Part<Vec<Postcondition>>,
    /// Of the status.
    pub status: Part<Status>,
}

/// What belongs to one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part<S> {
    /// What of the facts it reads.
    pub(crate) reads: Reads,
    pub(crate) steps: S,
}

/// What is said beyond the host's draft.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) data: Vec<(String, Node)>,
}

/// One step of the preconditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Precondition {
    pub(crate) name: String,
    pub(crate) expression: Expression,
    pub(crate) otherwise: Otherwise,
    pub(crate) message: Option<Template>,
    pub(crate) recheck_after_ms: Option<u32>,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) when: Option<Expression>,
    pub(crate) recreate: bool,
    pub(crate) after: Vec<String>,
    pub(crate) during: During,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Manifest {
    /// An object whose texts are templates.
    Document(Node),
    /// A template that gives YAML.
    Yaml(Template),
}

/// One step of the postconditions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Postcondition {
    pub(crate) name: String,
    pub(crate) expression: Expression,
    pub(crate) message: Option<Template>,
    pub(crate) failed: Option<Failed>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) expression: Expression,
    pub(crate) reason: String,
    pub(crate) message: Option<Template>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Condition {
    pub(crate) type_name: String,
    pub(crate) expression: Expression,
    pub(crate) reason: Option<Template>,
    pub(crate) message: Option<Template>,
}

/// A document with templates and expressions in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Template),
    /// Written as a map with the single key `expression`.
    Expression(Expression),
    List(Vec<Node>),
    Map(Vec<(Template, Node)>),
}

/// The stored form cannot be read: it is not of this version of the plugin.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// The stored form: each part in its own, so that a call reads what belongs to its phase.
#[derive(Serialize, Deserialize)]
struct Stored<'s>(#[serde(borrow)] [&'s [u8]; 4]);

/// A part that can be taken out of the stored form.
pub trait Stores: DeserializeOwned {
    /// Its place among the parts.
    const PLACE: usize;

    /// The same part of a whole program.
    fn of(program: Program) -> Self;
}

macro_rules! stores {
    ($($place:literal $part:ident: $type:ty),+) => {
        $(impl Stores for Part<$type> {
            const PLACE: usize = $place;

            fn of(program: Program) -> Self {
                program.$part
            }
        })+
    };
}

stores!(0 preconditions: Vec<Precondition>, 1 resources: Vec<Resource>, 2 postconditions: Vec<Postcondition>, 3 status: Status);

/// What the answers of a phase vary by: what it reads. What it does not read is not there when it is evaluated.
#[must_use]
pub fn vary(prepared: &[u8], phase: Phase) -> VaryBy {
    let reads = match phase {
        Phase::Preconditions => Program::part(prepared).map(|part: Part<Vec<Precondition>>| part.reads),
        Phase::Resources => Program::part(prepared).map(|part: Part<Vec<Resource>>| part.reads),
        Phase::Postconditions => Program::part(prepared).map(|part: Part<Vec<Postcondition>>| part.reads),
        Phase::Status => Program::part(prepared).map(|part: Part<Status>| part.reads),
    };
    // What was stored by another version may read everything.
    let all = reads.unwrap_or_else(|Unreadable| Reads::all());
    let reads = |root: &str| all.of(root).is_some();
    let subject = |field: &str| all.of("subject").is_some_and(|subject| subject.of(field).is_some());
    VaryBy {
        trigger: reads("event"),
        subject_status: subject("status") || subject("updated_time"),
        statuses: reads("statuses"),
        owner: reads("owner"),
        now: reads("now"),
        seed: false,
    }
}

impl Program {
    /// The stored form.
    ///
    /// # Errors
    /// Never in practice: there is nothing in it that cannot be stored.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let store = || {
            let preconditions = postcard::to_allocvec(&self.preconditions)?;
            let resources = postcard::to_allocvec(&self.resources)?;
            let postconditions = postcard::to_allocvec(&self.postconditions)?;
            let status = postcard::to_allocvec(&self.status)?;
            postcard::to_allocvec(&Stored([&preconditions, &resources, &postconditions, &status]))
        };
        store().map_err(|error: postcard::Error| error.to_string())
    }

    /// Reads one part of the stored form.
    ///
    /// # Errors
    /// When the bytes are not what [`Self::to_bytes`] gave.
    pub fn part<P: Stores>(bytes: &[u8]) -> Result<P, Unreadable> {
        let Stored(parts) = postcard::from_bytes(bytes).map_err(|_| Unreadable)?;
        let part = parts.get(P::PLACE).ok_or(Unreadable)?;
        postcard::from_bytes(part).map_err(|_| Unreadable)
    }
}
