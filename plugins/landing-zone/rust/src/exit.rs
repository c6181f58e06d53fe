//! What the Job's end means to whoever owns the cluster.

use berth_sdk::{Diagnosis, Failure, Object, Outcome};
use serde::Deserialize;

#[derive(Deserialize, Default)]
struct Job {
    #[serde(default)]
    status: JobStatus,
}

#[derive(Deserialize, Default)]
struct JobStatus {
    #[serde(default)]
    conditions: Vec<JobCondition>,
}

#[derive(Deserialize)]
struct JobCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    message: String,
}

/// Whether the Job is done. Only its own conditions decide: a pod that failed is tried again.
pub(crate) fn outcome(job: &Object) -> Result<Outcome, Failure> {
    let status = job.document.read::<Job>()?.status;
    let holds = |kind: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.kind == kind && condition.status == "True")
    };
    if holds("Complete").is_some() {
        return Ok(Outcome::Achieved);
    }
    if let Some(failed) = holds("Failed") {
        return Ok(Outcome::Failed(failure(job.diagnosis.as_ref(), &failed.message)));
    }
    let attempt = job.diagnosis.as_ref().and_then(|diagnosis| diagnosis.attempt);
    Ok(Outcome::pending(match attempt {
        Some(attempt) => format!("the landing zone is being set up, attempt {attempt}"),
        None => "the landing zone is being set up".to_owned(),
    }))
}

/// The stable reason that an exit code stands for.
pub(crate) fn reason(exit_code: Option<i32>) -> &'static str {
    match exit_code {
        Some(10) => "CredentialsRejected",
        Some(11) => "RegionNotEnabled",
        Some(12) => "NetworkRangeOverlaps",
        Some(_) | None => "LandingZoneFailed",
    }
}

fn failure(diagnosis: Option<&Diagnosis>, otherwise: &str) -> Failure {
    let exit_code = diagnosis.and_then(|diagnosis| diagnosis.exit_code);
    let said = diagnosis
        .and_then(|diagnosis| diagnosis.termination_message.as_deref())
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .unwrap_or(otherwise);
    let message = match exit_code {
        Some(10) => {
            format!("The cloud credentials were rejected: {said}. Renew them and change the cluster to try again.")
        }
        Some(11) => format!("The region is not enabled for the account: {said}. Enable it, or choose another region."),
        Some(12) => format!("The network range overlaps another one: {said}. Choose another `networkCidr`."),
        Some(code) => format!("The landing zone could not be set up (exit code {code}): {said}"),
        None => format!("The landing zone could not be set up: {said}"),
    };
    Failure::new(reason(exit_code), message)
}
