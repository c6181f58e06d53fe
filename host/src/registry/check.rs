//! What is checked about a registry's answers and an artifact, one by one.
//!
//! Each check has a name, so that tests can show that each is needed: they do without one after the other, and exactly
//! the artifact that it is there for passes it.

macro_rules! checks {
    ($( $(#[doc = $doc:literal])+ $name:ident )+) => {
        /// One check.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum Check { $( $(#[doc = $doc])+ $name, )+ }

        #[cfg(test)]
        impl Check {
            /// All of them.
            pub(super) const ALL: &[Self] = &[$( Self::$name, )+];
        }
    };
}

checks! {
    /// A manifest has the digest that was asked for, whoever fetched it.
    PulledDigest
    /// A manifest is JSON.
    ManifestJson
    /// A manifest has the schema version of one.
    ManifestSchema
    /// Registry and manifest call the manifest the same.
    ManifestTypeAgrees
    /// A manifest is no index.
    ManifestNoIndex
    /// A manifest is of the type of one.
    ManifestType
    /// A manifest names a config.
    ConfigNamed
    /// What a manifest names has a type.
    PartType
    /// What a manifest names has a digest of a known kind.
    PartDigestKind
    /// What a manifest names has a digest of the form of one.
    PartDigest
    /// What a manifest names has a size that is a number.
    PartSize
    /// Annotations are texts.
    Annotations
    /// A config is of a known type.
    ConfigType
    /// A config has a size that is possible.
    ConfigSizePossible
    /// A config is said to be no larger than any.
    ConfigSizeBound
    /// There is a layer.
    LayerNamed
    /// There is one layer.
    LayerAlone
    /// A layer is not of a type that is compressed.
    LayerTypeNotPacked
    /// A layer is not of a type of native code.
    LayerTypeNotNative
    /// A layer of the CNCF's type comes with the config of the CNCF's type.
    LayerTypeWithConfig
    /// A layer is of a known type.
    LayerType
    /// A layer has a size that is possible.
    LayerSizePossible
    /// A layer is said to be no larger than allowed.
    LayerSizeBound
    /// A config has the size that the manifest says.
    ConfigSize
    /// A config has the digest that the manifest says.
    ConfigDigest
    /// A config is JSON of one.
    ConfigJson
    /// A config is for WebAssembly.
    ConfigArchitecture
    /// A config is for WASI 0.2.
    ConfigSystem
    /// A config lists the manifest's layer.
    ConfigLayers
    /// A config describes its component.
    ConfigComponent
    /// A layer has the size that the manifest says.
    LayerSize
    /// A layer has the digest that the manifest says.
    LayerDigest
    /// A layer is no native code.
    NoNativeCode
    /// A layer is not compressed.
    NotPacked
    /// A layer begins as WebAssembly does.
    WebAssembly
    /// A layer is no core module.
    NoCoreModule
    /// A layer is a component from its begin to its end.
    WholeComponent
    /// A component has no more imports and exports than a plugin.
    FewNames
    /// A component imports what its config declares.
    DeclaredImports
    /// A component exports what its config declares.
    DeclaredExports
    /// An answer is not announced with more bytes than it may have.
    AnswerAnnounced
    /// An answer has no more bytes than it may have.
    AnswerBytes
    /// An answer has all bytes that it was announced with.
    AnswerWhole
    /// An answer is not encoded for its way: it would be another one once it is decoded.
    AnswerPlain
    /// A manifest that was asked for by its digest has it.
    AnsweredManifest
    /// A blob has the digest by which it was asked for.
    AnsweredBlob
    /// Redirects end.
    RedirectsEnd
    /// A redirect leads somewhere.
    RedirectGiven
    /// A redirect leads to where we go.
    RedirectTarget
}

impl Check {
    /// Whether what it looks for is there, and it is made.
    pub(super) fn finds(self, wrong: bool) -> bool {
        wrong && !self.is_removed()
    }

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

    /// It is not made on this thread, nor by what this thread has others do, until the answer is dropped.
    #[cfg(test)]
    pub(super) fn removed(self) -> Without {
        REMOVED.set(Some(self));
        Without(())
    }
}

/// `doing`, for another thread: what a test does without is not done there either.
#[cfg(not(test))]
pub(super) fn elsewhere<T>(doing: impl FnOnce() -> T) -> impl FnOnce() -> T {
    doing
}

/// `doing`, for another thread: what a test does without is not done there either.
#[cfg(test)]
pub(super) fn elsewhere<T>(doing: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let removed = REMOVED.get();
    move || {
        let _without = removed.map(Check::removed);
        doing()
    }
}

/// See [`Check::removed`].
#[cfg(test)]
pub(super) struct Without(());

#[cfg(test)]
impl Drop for Without {
    fn drop(&mut self) {
        REMOVED.set(None);
    }
}

#[cfg(test)]
thread_local! {
    static REMOVED: std::cell::Cell<Option<Check>> = const { std::cell::Cell::new(None) };
}
