//! What is checked about an event, one by one.
//!
//! Each check has a name, so that tests can show that each is needed: they remove one after
//! the other, and exactly the event that it is there for passes it.

use super::Refusal;

macro_rules! checks {
    ($( $(#[doc = $doc:literal])+ $name:ident )+) => {
        /// One check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Check { $( $(#[doc = $doc])+ $name, )+ }

        #[cfg(test)]
        impl Check {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$( Self::$name, )+];
        }
    };
}

checks! {
    /// The message says which form it has.
    ContentType
    /// A body is not larger than allowed.
    BodySize
    /// A body comes in time.
    BodyTime
    /// A body comes to its end.
    BodyWhole
    /// Headers are texts.
    HeaderText
    /// The body of a structured message is JSON.
    Json
    /// The body of a binary message is JSON.
    BodyJson
    /// A batch is a list.
    BatchList
    /// A batch has no more events than allowed.
    BatchSize
    /// An event is an object.
    Object
    /// `specversion` is there.
    SpecVersionGiven
    /// `specversion` is 1.0.
    SpecVersionKnown
    /// `id` is there.
    IdGiven
    /// `source` is there.
    SourceGiven
    /// `type` is there.
    TypeGiven
    /// All attributes are as CloudEvents has them.
    Attributes
    /// `type` begins as HyperFleet's do.
    TypePrefix
    /// `type` ends as HyperFleet's do.
    TypeSuffix
    /// `type` has a kind between.
    TypeKind
    /// `data` is there.
    DataGiven
    /// `data` that is a text is JSON.
    DataText
    /// `data_base64` is JSON.
    DataBytes
    /// `data` is an object.
    DataObject
    /// `data.id` is there.
    DataIdGiven
    /// An identifier is a text.
    IdText
    /// An identifier fits into a label.
    IdLength
    /// An identifier begins and ends as a label does.
    IdEdges
    /// An identifier fits into a path and a label.
    IdLetters
    /// A kind is a text.
    KindText
    /// A kind has the form of one.
    KindForm
    /// A generation is a number, or the text of one.
    GenerationNumber
    /// A generation is whole, and fits.
    GenerationWhole
    /// A path is a text.
    HrefText
    /// A URL has a path.
    HrefPath
    /// A path begins at the root.
    HrefAbsolute
    /// A path goes down only.
    HrefSegments
    /// A path is nothing but one.
    HrefLetters
    /// A path is that of the resource that it is said to be.
    HrefOwn
    /// A path of a kind that is known is that kind's.
    HrefKind
    /// An owner is identified.
    OwnerIdGiven
    /// An owner has a kind.
    OwnerKindGiven
}

impl Check {
    /// Refuses unless it holds.
    pub(super) fn passes<E>(self, holds: bool, refusal: impl FnOnce() -> E) -> Result<(), E> {
        if holds || self.is_removed() {
            Ok(())
        } else {
            Err(refusal())
        }
    }

    /// Refuses unless there is a result.
    pub(super) fn succeeds<T: Default, E>(
        self,
        result: Result<T, E>,
        refusal: impl FnOnce(E) -> Refusal,
    ) -> Result<T, Refusal> {
        match result {
            Ok(value) => Ok(value),
            Err(_) if self.is_removed() => Ok(T::default()),
            Err(error) => Err(refusal(error)),
        }
    }

    /// What is allowed; `any` where this is not checked.
    pub(super) fn bound<T>(self, allowed: T, any: T) -> T {
        if self.is_removed() { any } else { allowed }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests can remove it")]
    fn is_removed(self) -> bool {
        false
    }

    #[cfg(test)]
    fn is_removed(self) -> bool {
        REMOVED.get() == Some(self)
    }

    /// What `act` answers where this check is not made.
    #[cfg(test)]
    pub(super) fn removed<T>(self, act: impl FnOnce() -> T) -> T {
        REMOVED.set(Some(self));
        let answer = act();
        REMOVED.set(None);
        answer
    }
}

#[cfg(test)]
thread_local! {
    static REMOVED: std::cell::Cell<Option<Check>> = const { std::cell::Cell::new(None) };
}
