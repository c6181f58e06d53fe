//! Whether what is seen is what must be, from plain values.

use std::collections::BTreeMap;

use super::plan::Fates;

/// What users see of one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Whether the HyperFleet API knows it no more.
    pub gone: bool,
    /// The generation of the adapter's row; none without a row.
    pub reported: Option<u64>,
    /// Applied, Available and Health of the row.
    pub case: String,
    /// The Jobs of the subject: name, generation, and how many of its pods succeeded. More than
    /// one is Kubernetes' doing: its controller repeats a call whose answer was lost.
    pub jobs: Vec<(String, u64, u64)>,
}

/// What users see, by the number of the subject.
pub type Seen = BTreeMap<u32, Subject>;

/// Applied, Available and Health of what succeeded.
const ACHIEVED: &str = "True True True";

/// Subjects whose last event was lost: nothing was reported about their last generation. Only
/// what is reported may be acknowledged, so there are none as soon as nothing is broken and
/// all events were delivered.
#[must_use]
pub fn unreported(fates: &Fates, seen: &Seen) -> Vec<String> {
    let mut troubles = Vec::new();
    for (number, fate) in fates {
        let subject = seen.get(number).cloned().unwrap_or_default();
        let wanted = fate.generation();
        if !subject.gone && subject.reported != Some(wanted) {
            troubles.push(format!(
                "subject {number} has the generation {wanted}; reported is {:?}",
                subject.reported
            ));
        }
    }
    troubles
}

/// What the HyperFleet API does not tell as it must in the end.
#[must_use]
pub fn wrong_rows(fates: &Fates, seen: &Seen) -> Vec<String> {
    let mut troubles = Vec::new();
    for (number, fate) in fates {
        let subject = seen.get(number).cloned().unwrap_or_default();
        let wanted = fate.generation();
        if fate.deleted && !subject.gone {
            troubles.push(format!("subject {number} is deleted and stays: {subject:?}"));
        } else if !fate.deleted && (subject.gone || subject.reported != Some(wanted) || subject.case != ACHIEVED) {
            troubles.push(format!(
                "subject {number} should have succeeded at the generation {wanted}: {subject:?}"
            ));
        }
    }
    troubles
}

/// What is not as it must be in the end: rows, and Jobs.
#[must_use]
pub fn wrong(fates: &Fates, seen: &Seen) -> Vec<String> {
    let mut troubles = wrong_rows(fates, seen);
    for (number, fate) in fates {
        let jobs = seen
            .get(number)
            .map(|subject| subject.jobs.as_slice())
            .unwrap_or_default();
        let wanted = fate.generation();
        if fate.deleted {
            if !jobs.is_empty() {
                troubles.push(format!("subject {number} is deleted and has the Jobs {jobs:?}"));
            }
        } else if !matches!(jobs, [(_, generation, 1..)] if *generation == wanted) {
            troubles.push(format!(
                "subject {number} should have one Job, of the generation {wanted}; it has {jobs:?}"
            ));
        }
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::{super::plan::Fate, *};

    fn fates(changes: u32, deleted: bool) -> Fates {
        Fates::from([(1, Fate { changes, deleted })])
    }

    fn seen(reported: u64, case: &str, jobs: &[u64]) -> Seen {
        let jobs = jobs.iter().map(|generation| ("job".to_owned(), *generation, 1));
        let subject = Subject {
            gone: false,
            reported: Some(reported),
            case: case.to_owned(),
            jobs: jobs.collect(),
        };
        Seen::from([(1, subject)])
    }

    #[test]
    fn a_report_at_the_last_generation_shows_that_no_event_was_lost() {
        assert!(unreported(&fates(1, false), &seen(2, "False False False", &[])).is_empty());
        assert_eq!(unreported(&fates(1, false), &seen(1, ACHIEVED, &[1])).len(), 1);
        assert_eq!(unreported(&fates(0, false), &Seen::new()).len(), 1);
        let gone = Subject {
            gone: true,
            ..Subject::default()
        };
        assert!(unreported(&fates(0, true), &Seen::from([(1, gone)])).is_empty());
    }

    #[test]
    fn success_at_the_last_generation_with_one_job_is_right() {
        assert!(wrong(&fates(1, false), &seen(2, ACHIEVED, &[2])).is_empty());
    }

    #[test]
    fn an_old_row_a_missing_or_further_job_and_one_of_an_old_generation_are_wrong() {
        assert_eq!(wrong(&fates(1, false), &seen(1, ACHIEVED, &[2])).len(), 1);
        assert_eq!(wrong(&fates(1, false), &seen(2, "True False True", &[2])).len(), 1);
        for jobs in [&[][..], &[1], &[1, 2], &[2, 2]] {
            assert_eq!(wrong(&fates(1, false), &seen(2, ACHIEVED, jobs)).len(), 1, "{jobs:?}");
        }
    }

    #[test]
    fn a_job_that_has_not_succeeded_is_wrong() {
        let mut running = seen(2, ACHIEVED, &[2]);
        running.get_mut(&1).unwrap().jobs[0].2 = 0;
        assert_eq!(wrong(&fates(1, false), &running).len(), 1);
        running.get_mut(&1).unwrap().jobs[0].2 = 2;
        assert!(wrong(&fates(1, false), &running).is_empty());
    }

    #[test]
    fn a_deleted_subject_is_gone_with_its_jobs() {
        assert_eq!(wrong(&fates(0, true), &seen(2, "", &[])).len(), 1);
        let mut left = seen(2, "", &[1]);
        left.get_mut(&1).unwrap().gone = true;
        assert_eq!(wrong(&fates(0, true), &left).len(), 1);
        left.get_mut(&1).unwrap().jobs.clear();
        assert!(wrong(&fates(0, true), &left).is_empty());
    }
}
