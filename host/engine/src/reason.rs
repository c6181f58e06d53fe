//! Why a condition is as it is: every reason that berth itself reports, once.

/// Who has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Nobody: it is as it should be, or it will be.
    Nobody,
    /// Whoever owns the cluster or nodepool.
    User,
    /// Whoever writes the adapter.
    Partner,
    /// Whoever runs berth and the clusters it works in.
    Platform,
}

/// What a user sees: the journeys of the README, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// The work is in progress.
    A1,
    /// The work is done.
    A2,
    /// Something must happen first.
    A3,
    /// A workload cannot be created or started.
    A4,
    /// The workload ran and failed.
    A5,
    /// An API cannot be reached, or a plugin fails.
    A6,
    /// The subject is not this adapter's.
    NotApplicable,
    /// The subject is being deleted.
    Deleting,
}

impl Case {
    /// As the README calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A1 => "A1",
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::A4 => "A4",
            Self::A5 => "A5",
            Self::A6 => "A6",
            Self::NotApplicable => "not applicable",
            Self::Deleting => "deleting",
        }
    }
}

macro_rules! reasons {
    ($( $(#[doc = $meaning:literal])+ $name:ident, $actor:ident, [$($case:ident),*], $remediation:literal; )+) => {
        /// A stable cause. Its name is what a condition's `reason` says.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $( $(#[doc = $meaning])+ $name, )+ }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$( Self::$name, )+];

            /// The text of a condition's `reason`, and of a metric's label.
            #[must_use]
            pub fn name(self) -> &'static str { match self { $( Self::$name => stringify!($name), )+ } }

            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str { match self { $( Self::$name => concat!($($meaning,)+), )+ } }

            /// Who has to do something.
            #[must_use]
            pub fn actor(self) -> Actor { match self { $( Self::$name => Actor::$actor, )+ } }

            /// In which journeys it is told, in the order of the README; none where no report can tell it. What keeps a deletion from going on is
            /// told of the deletion with the reason that it has in the life of a subject.
            #[must_use]
            pub fn cases(self) -> &'static [Case] { match self { $( Self::$name => &[$( Case::$case ),*], )+ } }

            /// What to do, one sentence; empty where there is nothing to do.
            #[must_use]
            pub fn remediation(self) -> &'static str { match self { $( Self::$name => $remediation, )+ } }

            /// The reason of this name; none for one that an adapter made up.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> { Self::ALL.iter().copied().find(|one| one.name() == name) }
        }
    };
}

reasons! {
    /// The adapter's objects exist.
    ResourcesCreated, Nobody, [A1, A2, A5, A6, Deleting], "";
    /// The work is under way.
    WorkloadInProgress, Nobody, [A1], "";
    /// The work is done.
    PostconditionsMet, Nobody, [A2, A6], "";
    /// Nothing unexpected happened.
    NoErrors, Nobody, [A1, A2, A3, A5, NotApplicable, Deleting], "";
    /// Something that the adapter depends on is not there yet.
    PreconditionsNotMet, Nobody, [A3], "";
    /// The target namespace does not exist yet.
    NamespaceMissing, Platform, [A3, A4], "Create the namespace, or let the adapter that owns it finish.";
    /// The target namespace is being deleted.
    NamespaceTerminating, Platform, [A4], "Wait for the namespace's deletion, or find out which finalizer holds it.";
    /// The subject is not this adapter's concern.
    NotApplicable, Nobody, [NotApplicable], "";
    /// An earlier workload must end first.
    WaitingForEarlierGeneration, Nobody, [A3], "";
    /// A resource quota has no room.
    QuotaExceeded, Platform, [A4], "Raise the quota of the namespace or free what is in use.";
    /// A limit range of the namespace does not allow what is asked for.
    OutsideLimitRange, Platform, [A4], "Bring the requests and limits into the namespace's limit range, or change the range.";
    /// The image of a container cannot be pulled.
    ImagePullFailed, Platform, [A4], "Check the image's name and tag, the pull secret and the registry.";
    /// A container cannot be set up: a Secret, ConfigMap or key is missing.
    ContainerConfigInvalid, Platform, [A4], "Create the Secret or ConfigMap that the container refers to.";
    /// No node has room, or none matches.
    Unschedulable, Platform, [A4], "Add nodes, free capacity, or correct the node selector and tolerations.";
    /// The service account of the workload's pods does not exist.
    ServiceAccountMissing, Platform, [A4], "Create the service account that the pods name.";
    /// Pods cannot be created for another cause.
    PodCreationFailed, Platform, [A4], "Read the workload's events for what refuses its pods.";
    /// An admission webhook or policy refuses the object.
    AdmissionRefused, Platform, [A4], "Make the manifest comply with the policy, or ask for an exemption.";
    /// An admission webhook does not answer.
    AdmissionUnavailable, Platform, [A4], "Restore the webhook's service.";
    /// The conversion webhook of a custom resource definition fails.
    ConversionUnavailable, Platform, [A6], "Restore the conversion webhook of the custom resource definition.";
    /// The adapter's service account may not do this.
    Forbidden, Platform, [A4], "Grant the adapter's service account the missing rights.";
    /// Another field manager owns a field.
    FieldConflict, Platform, [A4], "Let one manager own the field, or set `force` in the adapter document.";
    /// The document's `permits` do not cover the object.
    ManifestNotPermitted, Partner, [A4], "Extend `permits` in the adapter document, or change the manifest.";
    /// The API server refuses the manifest.
    ManifestInvalid, Partner, [A4], "Correct the manifest.";
    /// The manifest changes a field of an object that cannot be changed.
    FieldImmutable, Partner, [A4], "Leave the field as it was, or set `recreate` so that the object is made anew.";
    /// The API server knows no such kind.
    UnknownKind, Platform, [A4], "Install the custom resource definition.";
    /// A plan cannot be executed: names twice, a ring of `after`, too many rounds, or it discovers more than 8 MiB of objects.
    PlanInvalid, Partner, [A4], "Correct the plugin's plan.";
    /// An object with that name exists and belongs to somebody else.
    ObjectNotOurs, Platform, [A4], "Rename the object in the manifest, or remove the one that exists.";
    /// Creating or changing an object failed for another cause.
    CreationFailed, Platform, [A4], "Read the message and the API server's log.";
    /// The workload ran and failed.
    WorkloadFailed, User, [A5], "Correct what the message says and change the resource to try again.";
    /// The workload ran out of memory.
    OutOfMemory, Partner, [A5], "Raise the container's memory limit.";
    /// The workload took longer than it may.
    DeadlineExceeded, User, [A5], "Find out what it waits for, or raise its deadline.";
    /// A container fails again and again.
    CrashLoop, Partner, [A5], "Read the container's log.";
    /// A workload that was available is not any more.
    WorkloadDegraded, Nobody, [A1], "";
    /// The Kubernetes API cannot be reached.
    KubernetesApiUnreachable, Platform, [A6], "Restore the API server or the network to it.";
    /// The Kubernetes API refuses berth's requests because there are too many.
    KubernetesApiThrottled, Platform, [A6], "Give berth a priority level with more seats, or find out who else loads the API server.";
    /// berth itself may not read what it has to watch.
    ReadForbidden, Platform, [A6], "Grant berth's own service account the right to get, list and watch this kind.";
    /// The HyperFleet API cannot be reached.
    FleetApiUnreachable, Platform, [A6], "Restore the HyperFleet API or the network to it.";
    /// The HyperFleet API refuses berth.
    FleetApiMisconfigured, Platform, [A6], "Check the URL, the token and its audience in berth's configuration.";
    /// The HyperFleet API refuses the report, and would refuse it again.
    ReportRejected, Partner, [], "Read the message for what is wrong with the report: a condition or data of a plugin, or the clock of berth's machine.";
    /// The HyperFleet API refuses to tell of the subject, and would refuse it again.
    SubjectRejected, Platform, [A6], "Read the message; the events name a path that the API does not take.";
    /// The plugin answered with a failure of its own.
    PluginFailed, Partner, [A6], "Read the message; the plugin's author knows more.";
    /// The plugin trapped.
    PluginTrapped, Partner, [A6], "Report this to the plugin's author with the event.";
    /// The plugin used up its instructions.
    PluginFuelExhausted, Partner, [A6], "Raise `limits.fuel`, or make the plugin do less.";
    /// The plugin did not finish in time.
    PluginDeadlineExceeded, Partner, [A6], "Raise `limits.deadline`, or make the plugin do less.";
    /// The plugin waited too long for what it asked.
    PluginHostTimeExceeded, Platform, [A6], "Find out why the API that it reads is slow.";
    /// The plugin wanted more memory than it may have.
    PluginMemoryExceeded, Partner, [A6], "Raise `limits.memory`, or make the plugin use less.";
    /// The plugin's stack overflowed.
    PluginStackOverflow, Partner, [A6], "Make the plugin recurse less.";
    /// The plugin's answer is larger than allowed.
    PluginOutputTooLarge, Partner, [A6], "Make the plugin answer with less.";
    /// The plugin's answer cannot be used.
    PluginOutputInvalid, Partner, [A6], "Correct the plugin's answer.";
    /// The plugin is not loaded, or cannot be started.
    PluginUnavailable, Platform, [A6], "Read berth's log for why the plugin is not live.";
    /// The plugin failed again and again and is left alone for a while.
    PluginSuspended, Partner, [A6], "Mend the plugin; it is tried again by itself.";
    /// The plugin reported Available as Unknown.
    PluginReportedUnknown, Partner, [A2], "Report True or False.";
    /// Objects are being removed.
    CleanupInProgress, Nobody, [Deleting], "";
    /// All objects are gone.
    CleanupConfirmed, Nobody, [Deleting], "";
    /// Objects could not be removed.
    CleanupFailed, Platform, [Deleting], "Read the message for what holds the object.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
