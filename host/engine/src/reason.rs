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

macro_rules! reasons {
    ($( $(#[doc = $meaning:literal])+ $name:ident, $actor:ident, $remediation:literal; )+) => {
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

            /// What to do, one sentence; empty where there is nothing to do.
            #[must_use]
            pub fn remediation(self) -> &'static str { match self { $( Self::$name => $remediation, )+ } }
        }
    };
}

reasons! {
    /// The adapter's objects exist.
    ResourcesCreated, Nobody, "";
    /// The work is under way.
    WorkloadInProgress, Nobody, "";
    /// The work is done.
    PostconditionsMet, Nobody, "";
    /// Nothing unexpected happened.
    NoErrors, Nobody, "";
    /// Something that the adapter depends on is not there yet.
    PreconditionsNotMet, Nobody, "";
    /// The target namespace does not exist yet.
    NamespaceMissing, Platform, "Create the namespace, or let the adapter that owns it finish.";
    /// The target namespace is being deleted.
    NamespaceTerminating, Platform, "Wait for the namespace's deletion, or find out which finalizer holds it.";
    /// The subject is not this adapter's concern.
    NotApplicable, Nobody, "";
    /// An earlier workload must end first.
    WaitingForEarlierGeneration, Nobody, "";
    /// A resource quota has no room.
    QuotaExceeded, Platform, "Raise the quota of the namespace or free what is in use.";
    /// A limit range of the namespace does not allow what is asked for.
    OutsideLimitRange, Platform, "Bring the requests and limits into the namespace's limit range, or change the range.";
    /// The image of a container cannot be pulled.
    ImagePullFailed, Platform, "Check the image's name and tag, the pull secret and the registry.";
    /// A container cannot be set up: a Secret, ConfigMap or key is missing.
    ContainerConfigInvalid, Platform, "Create the Secret or ConfigMap that the container refers to.";
    /// No node has room, or none matches.
    Unschedulable, Platform, "Add nodes, free capacity, or correct the node selector and tolerations.";
    /// The service account of the workload's pods does not exist.
    ServiceAccountMissing, Platform, "Create the service account that the pods name.";
    /// Pods cannot be created for another cause.
    PodCreationFailed, Platform, "Read the workload's events for what refuses its pods.";
    /// An admission webhook or policy refuses the object.
    AdmissionRefused, Platform, "Make the manifest comply with the policy, or ask for an exemption.";
    /// An admission webhook does not answer.
    AdmissionUnavailable, Platform, "Restore the webhook's service.";
    /// The conversion webhook of a custom resource definition fails.
    ConversionUnavailable, Platform, "Restore the conversion webhook of the custom resource definition.";
    /// The adapter's service account may not do this.
    Forbidden, Platform, "Grant the adapter's service account the missing rights.";
    /// Another field manager owns a field.
    FieldConflict, Platform, "Let one manager own the field, or set `force` in the adapter document.";
    /// The document's `permits` do not cover the object.
    ManifestNotPermitted, Partner, "Extend `permits` in the adapter document, or change the manifest.";
    /// The API server refuses the manifest.
    ManifestInvalid, Partner, "Correct the manifest.";
    /// The manifest changes a field of an object that cannot be changed.
    FieldImmutable, Partner, "Leave the field as it was, or set `recreate` so that the object is made anew.";
    /// The API server knows no such kind.
    UnknownKind, Platform, "Install the custom resource definition.";
    /// A plan cannot be executed: names twice, a ring of `after`, too many rounds, or it discovers more than 8 MiB of objects.
    PlanInvalid, Partner, "Correct the plugin's plan.";
    /// An object with that name exists and belongs to somebody else.
    ObjectNotOurs, Platform, "Rename the object in the manifest, or remove the one that exists.";
    /// Creating or changing an object failed for another cause.
    CreationFailed, Platform, "Read the message and the API server's log.";
    /// The workload ran and failed.
    WorkloadFailed, User, "Correct what the message says and change the resource to try again.";
    /// The workload ran out of memory.
    OutOfMemory, Partner, "Raise the container's memory limit.";
    /// The workload took longer than it may.
    DeadlineExceeded, User, "Find out what it waits for, or raise its deadline.";
    /// A container fails again and again.
    CrashLoop, Partner, "Read the container's log.";
    /// A workload that was available is not any more.
    WorkloadDegraded, Nobody, "";
    /// The Kubernetes API cannot be reached.
    KubernetesApiUnreachable, Platform, "Restore the API server or the network to it.";
    /// The Kubernetes API refuses berth's requests because there are too many.
    KubernetesApiThrottled, Platform, "Give berth a priority level with more seats, or find out who else loads the API server.";
    /// berth itself may not read what it has to watch.
    ReadForbidden, Platform, "Grant berth's own service account the right to get, list and watch this kind.";
    /// The HyperFleet API cannot be reached.
    FleetApiUnreachable, Platform, "Restore the HyperFleet API or the network to it.";
    /// The HyperFleet API refuses berth.
    FleetApiMisconfigured, Platform, "Check the URL, the token and its audience in berth's configuration.";
    /// The plugin answered with a failure of its own.
    PluginFailed, Partner, "Read the message; the plugin's author knows more.";
    /// The plugin trapped.
    PluginTrapped, Partner, "Report this to the plugin's author with the event.";
    /// The plugin used up its instructions.
    PluginFuelExhausted, Partner, "Raise `limits.fuel`, or make the plugin do less.";
    /// The plugin did not finish in time.
    PluginDeadlineExceeded, Partner, "Raise `limits.deadline`, or make the plugin do less.";
    /// The plugin waited too long for what it asked.
    PluginHostTimeExceeded, Platform, "Find out why the API that it reads is slow.";
    /// The plugin wanted more memory than it may have.
    PluginMemoryExceeded, Partner, "Raise `limits.memory`, or make the plugin use less.";
    /// The plugin's stack overflowed.
    PluginStackOverflow, Partner, "Make the plugin recurse less.";
    /// The plugin's answer is larger than allowed.
    PluginOutputTooLarge, Partner, "Make the plugin answer with less.";
    /// The plugin's answer cannot be used.
    PluginOutputInvalid, Partner, "Correct the plugin's answer.";
    /// The plugin is not loaded, or cannot be started.
    PluginUnavailable, Platform, "Read berth's log for why the plugin is not live.";
    /// The plugin failed again and again and is left alone for a while.
    PluginSuspended, Partner, "Mend the plugin; it is tried again by itself.";
    /// The plugin reported Available as Unknown.
    PluginReportedUnknown, Partner, "Report True or False.";
    /// Objects are being removed.
    CleanupInProgress, Nobody, "";
    /// All objects are gone.
    CleanupConfirmed, Nobody, "";
    /// Objects could not be removed.
    CleanupFailed, Platform, "Read the message for what holds the object.";
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
