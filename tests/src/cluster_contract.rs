//! What every [`Cluster`] does, real or simulated.
//!
//! Owns the cases; a [`Fixture`] brings the cluster. Each case works in a namespace of its own, so
//! that all of them can run on one real API server at the same time, and waits for conditions
//! only, never for a time. [`cases!`](crate::cluster_contract_cases) makes one test of each.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the cases are tests: their names are their documentation, and a panic fails them"
)]

use std::sync::Arc;

use async_trait::async_trait;
use berth::{simulate::cluster::Rule, world::Cluster};
use berth_engine::contract::Reference;
use serde_json::Value;

mod corner;
mod reading;
mod watching;
mod workloads;
mod writing;

pub use self::{reading::*, watching::*, workloads::*, writing::*};

/// A cluster under test, and an administrator's hands to arrange it. All methods panic where the
/// arrangement fails.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The cluster. Its receiver of changes has not been taken.
    fn cluster(&self) -> Arc<dyn Cluster>;

    /// Creates a namespace; afterwards pods can be created in it.
    async fn create_namespace(&self, name: &str);

    /// Begins a namespace's deletion.
    async fn delete_namespace(&self, name: &str);

    /// Creates a service account, where its namespace exists, and grants it these rights;
    /// afterwards they are in force.
    async fn grant(&self, namespace: &str, service_account: &str, rules: Vec<Rule>);

    /// Sets the ResourceQuota `quota`; afterwards it is in force.
    async fn set_quota(&self, namespace: &str, hard: &[(&str, &str)]);

    /// Deletes an object as `kubectl delete` does.
    async fn delete_by_hand(&self, reference: &Reference);

    /// Creates an object so that its fields are owned by this manager.
    async fn create_as_other_manager(&self, manager: &str, object: Value);

    /// The API server stops answering.
    async fn go_away(&self);

    /// The API server answers again.
    async fn come_back(&self);

    /// Lets time pass until something may have happened. False when nothing will happen any more,
    /// or when the case has taken too long: the caller gives up then.
    async fn wait(&self) -> bool;
}

/// One test of every case. `$fixture` is an expression that makes a fixture and may await;
/// `$test` is the attribute of a test.
#[macro_export]
macro_rules! cluster_contract_cases {
    ($fixture:expr) => {
        $crate::cluster_contract_cases! { $fixture =>
            an_applied_object_exists_with_our_labels_and_is_echoed
            creating_what_exists_is_stale
            changing_with_an_old_version_is_stale
            changing_what_is_gone_is_stale
            applying_the_same_again_changes_nothing
            a_missing_namespace_is_named
            a_terminating_namespace_takes_nothing_new
            an_identity_without_rights_is_refused
            a_document_without_a_service_account_has_none_of_the_hosts_rights
            a_full_quota_refuses_the_object
            a_quota_that_refuses_pods_is_told_in_the_diagnosis
            a_foreign_field_is_a_conflict_that_names_its_manager
            force_takes_a_foreign_field_over
            a_field_that_we_drop_is_removed
            the_template_of_a_job_cannot_change
            an_invalid_manifest_is_refused
            an_unknown_kind_is_refused_and_has_no_objects
            a_job_that_succeeds_is_complete
            a_job_that_fails_tells_its_exit_code_and_message
            a_job_with_retries_left_is_under_way
            a_job_that_hangs_stays_under_way
            a_job_beyond_its_deadline_fails
            an_image_that_cannot_be_pulled_is_told_in_the_diagnosis
            a_deployment_becomes_available
            a_foreground_deletion_ends_and_then_nothing_is_there
            deleting_another_incarnation_is_stale
            deleting_an_older_version_is_stale
            a_removal_by_hand_is_told
            what_exists_when_a_watch_begins_is_told
            the_progress_of_a_job_is_told
            a_namespace_that_appears_is_told_once
            only_this_adapters_objects_of_this_subject_are_observed
            a_config_map_is_observed_without_its_data
            a_secret_is_observed_without_its_data
            objects_are_found_by_name_and_by_labels
            finding_needs_rights
            finding_too_much_is_refused
            an_api_that_does_not_answer_is_unreachable_until_it_is_back
        }
    };
    ($fixture:expr => $($case:ident)+) => {
        $(
            #[tokio::test]
            async fn $case() {
                let fixture = $fixture;
                $crate::cluster_contract::$case(&fixture).await;
            }
        )+
    };
}
