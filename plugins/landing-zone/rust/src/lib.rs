//! A reference adapter: checks whether a landing zone can be set up for a cluster, and sets
//! it up by a Job.
//!
//! - Preconditions: the provider is served, the region is served, and the quota that a
//!   ConfigMap states has room.
//! - Resources: a ConfigMap with the zone's parameters, and the Job that reads it.
//! - Postconditions: the Job's exit codes, translated into what a user can do.
//! - Status: the condition `NetworkReady`, and the zone's name and region as data.
//!
//! Nothing is kept between calls and nothing is read but the quota's ConfigMap.

mod config;
mod exit;
mod plan;
mod quota;

use berth_sdk::{
    Answer, Condition, Draft, Facts, Failure, Object, Outcome, Plan, Postconditions, Preconditions, Problem, Resources,
    Setup, Status, StatusAnswer, StatusReport, Verdict, log,
};
use config::Spec;
pub use config::{Config, Quota};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The adapter.
#[derive(Debug)]
pub struct LandingZone;

berth_sdk::plugin!(LandingZone: setup, preconditions, resources, postconditions, status);

/// What postconditions tell the status phase.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ended {
    exit_code: Option<i32>,
}

impl Setup for LandingZone {
    type Config = Config;
    type Prepared = Config;

    fn prepare(config: Config) -> Result<Config, Vec<Problem>> {
        config.check()
    }
}

impl Preconditions for LandingZone {
    fn preconditions(facts: &Facts) -> Result<Answer<Verdict>, Failure> {
        let config: Config = facts.prepared()?;
        let spec: Spec = facts.subject.spec()?;
        if spec.provider != config.provider {
            let why = format!(
                "the provider is {}, and landing zones are made for {} only",
                spec.provider, config.provider
            );
            return Ok(Verdict::NotApplicable(why).into());
        }
        if !config.regions.contains(&spec.region) {
            let served = config.regions.join(", ");
            let message = format!("region {} is not served; served are {served}", spec.region);
            return Ok(Verdict::wait("region", message).into());
        }
        Ok(match quota::check(facts, &config, &spec.region)? {
            Some(waiting) => Verdict::wait("quota", waiting).into(),
            None => Verdict::Proceed.into(),
        })
    }
}

impl Resources for LandingZone {
    fn resources(facts: &Facts, _objects: &[Object]) -> Result<Answer<Plan>, Failure> {
        // An empty plan lets the host delete everything: that is all a deletion needs.
        if facts.subject.deleting {
            return Ok(Plan::default().into());
        }
        let config: Config = facts.prepared()?;
        let spec: Spec = facts.subject.spec()?;
        log::info(format!(
            "planning the landing zone of {} in {}",
            facts.subject.id, spec.region
        ));
        Ok(Plan::last(plan::operations(facts, &config, &spec)).into())
    }
}

impl Postconditions for LandingZone {
    fn postconditions(_facts: &Facts, objects: &[Object]) -> Result<Answer<Outcome>, Failure> {
        let Some(job) = objects.iter().find(|object| object.name == plan::JOB) else {
            return Ok(Outcome::pending("the Job does not exist yet").into());
        };
        let exit_code = job.diagnosis.as_ref().and_then(|diagnosis| diagnosis.exit_code);
        Answer::from(exit::outcome(job)?).carrying(&Ended { exit_code })
    }
}

impl Status for LandingZone {
    fn status(facts: &Facts, _objects: &[Object], draft: &Draft) -> Result<StatusAnswer, Failure> {
        let config: Config = facts.prepared()?;
        // A report must be possible whatever the spec says: this phase is asked in every case.
        let region = facts
            .subject
            .spec::<Spec>()
            .map_or_else(|_| "unknown".to_owned(), |spec| spec.region);
        let ended = facts.carry.read::<Option<Ended>>()?.unwrap_or_default();
        let ready = match draft.journey.as_str() {
            "achieved" => Condition::new(
                "NetworkReady",
                true,
                "LandingZoneReady",
                format!("The network in {region} is ready."),
            ),
            "work-failed" => {
                let cause = exit::reason(ended.exit_code);
                Condition::new(
                    "NetworkReady",
                    false,
                    cause,
                    format!("The network in {region} could not be set up."),
                )
            }
            journey => Condition::new(
                "NetworkReady",
                false,
                "NotReady",
                format!("The landing zone is {journey}."),
            ),
        };
        let mut conditions = draft.conditions.clone();
        conditions.push(ready);
        let data = json!({"landingZone": plan::zone(&facts.subject.id), "region": region, "image": config.image});
        Ok(StatusReport {
            conditions,
            data: data.into(),
        }
        .into())
    }
}
