//! What a manifest must look like before it is applied, and how we know our objects.

/// Label: the adapter's name.
pub const LABEL_ADAPTER: &str = "berth.hyperfleet.io/adapter";
/// Label: the subject's kind.
pub const LABEL_SUBJECT_KIND: &str = "berth.hyperfleet.io/subject-kind";
/// Label: the subject's identifier.
pub const LABEL_SUBJECT_ID: &str = "berth.hyperfleet.io/subject-id";
/// Annotation: the subject's path in the HyperFleet API.
pub const ANNOTATION_HREF: &str = "berth.hyperfleet.io/href";
/// Annotation: the subject's owner as JSON (`{"kind","id","href"}`), if it has one.
pub const ANNOTATION_OWNER: &str = "berth.hyperfleet.io/owner";
/// Annotation: the subject's generation that the object was applied for.
pub const ANNOTATION_GENERATION: &str = "berth.hyperfleet.io/generation";
/// Annotation: the hash of the manifest that the object was applied from.
pub const ANNOTATION_HASH: &str = "berth.hyperfleet.io/manifest-hash";
/// Annotation: the object's name in the plan.
pub const ANNOTATION_NAME: &str = "berth.hyperfleet.io/name";
