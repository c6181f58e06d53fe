//! What is checked about a document, one by one.
//!
//! Each check has a name, so that tests can show that each is needed: they remove one after
//! the other, and exactly the document that it is there for passes it.

macro_rules! checks {
    ($( $(#[doc = $doc:literal])+ $name:ident )+) => {
        /// One check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Check { $( $(#[doc = $doc])+ $name, )+ }

        #[cfg(test)]
        impl Check {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$( Self::$name, )+];
        }
    };
}

checks! {
    /// A folder can be read.
    FolderRead
    /// A file can be read.
    FileRead
    /// A file is not larger than anybody writes.
    FileSize
    /// A file is text in UTF-8.
    FileText
    /// A text is YAML, neither too deep nor too large.
    Yaml
    /// A text has a document.
    DocumentGiven
    /// A value is a text.
    Text
    /// A text says something.
    EmptyText
    /// A value is a boolean.
    Boolean
    /// A value is a list.
    List
    /// A value is a mapping.
    Mapping
    /// A word is one of a few.
    Choice
    /// A value is a duration.
    Duration
    /// A value is a size.
    Size
    /// A value is a count.
    Count
    /// A key is known.
    KnownKey
    /// A key is given once.
    KeyOnce
    /// A key is given that is needed.
    KeyGiven
    /// A name has the form of a label.
    Label
    /// A name has the form of a subdomain.
    Subdomain
    /// A name has the form of a kind.
    Pascal
    /// A name has the form of a step's.
    Step
    /// A name has the form of a variable's.
    Variable
    /// A group and version have the form of one.
    ApiVersion
    /// A placeholder ends.
    PlaceholderClosed
    /// A placeholder is known.
    PlaceholderKnown
    /// A name has the form of an object's.
    ObjectName
    /// A pattern has the form of a namespace.
    Namespace
    /// A path begins at the root.
    PathAbsolute
    /// A path has no empty segment.
    PathFull
    /// A path goes down only.
    PathDown
    /// A path's rest is its end.
    PathRestLast
    /// A path's `*` is a whole segment.
    PathWholeSegments
    /// A path has the letters of one.
    PathLetters
    /// An adapter has subjects.
    SubjectsGiven
    /// A subject is named once.
    SubjectOnce
    /// A dependency is named once.
    DependencyOnce
    /// A way that events come names a part of its own.
    SubscriptionGiven
    /// A list of permits permits something.
    PermitsGiven
    /// A permit of a cluster-scoped kind names the object.
    PermitNamed
    /// A plugin is not named as the embedded one.
    PluginNotOurs
    /// A plugin has a usable name.
    PluginName
    /// A plugin is asked by a phase.
    PluginAsked
    /// A step's plugin is declared.
    PluginKnown
    /// A source has a scheme that is known.
    SourceScheme
    /// A source has no credentials.
    SourceWithoutCredentials
    /// A digest is of sha256.
    SourceDigestKind
    /// A digest has the form of one.
    SourceDigest
    /// A source names a repository.
    SourceRepositoryGiven
    /// A source names a registry.
    SourceRegistry
    /// A repository has the form of one.
    SourceRepository
    /// A tag has the form of one.
    SourceTag
    /// A source names a version.
    SourceVersion
    /// Pull secrets are for a registry.
    PullSecretsRegistry
    /// Pull secrets have somebody who reads them.
    PullSecretsAccount
    /// A source names a file.
    FileGiven
    /// A file is below the document's folder.
    FileBelow
    /// A limit is more than nothing.
    LimitPositive
    /// A limit is not above the host's.
    LimitWithinCap
    /// A grant of Secrets names one.
    SecretNamed
    /// A host has the form of one.
    Host
    /// An action's URL is one.
    UrlScheme
    /// An action's URL has a host and a path.
    UrlHostAndPath
    /// An action's host is one, without credentials.
    UrlHost
    /// An action has methods.
    ActionMethods
    /// A variable is not one of the host's.
    VariableNotOurs
    /// A step is named once.
    StepOnce
    /// A step is a plugin or written out.
    StepEither
    /// A step has an expression.
    StepExpression
    /// A resource has a manifest.
    StepManifest
    /// A time until a recheck fits.
    RecheckLength
    /// A resource is not named as a plugin.
    ResourceNotPlugin
    /// A resource that is waited for exists.
    ResourceKnown
    /// Resources do not wait for each other.
    ResourceOrder
    /// A manifest says what it is.
    ManifestFrame
    /// A manifest has a name.
    ManifestName
    /// A manifest leaves to berth what is berth's.
    ManifestMetadata
    /// A manifest has no status.
    ManifestStatus
    /// A condition is not berth's own.
    ConditionNotOurs
    /// A condition is given once.
    ConditionOnce
    /// An adapter's name is its own.
    NameOnce
    /// Adapters do not wait for each other.
    DependencyOrder
}

impl Check {
    /// Whether a test does without it.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests can remove it")]
    pub(super) fn is_removed(self) -> bool {
        false
    }

    /// Whether this test does without it.
    #[cfg(test)]
    pub(super) fn is_removed(self) -> bool {
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
