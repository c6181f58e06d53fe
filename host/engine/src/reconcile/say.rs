//! The end of a reconcile: the status phase, the report, the actions.

use serde_json::{Map, Value, json};

use crate::{
    contract::{AdapterStatus, Condition, Draft, HttpAction, Object, Phase, PluginFault, Question, Said, Truth},
    effect::{FleetFault, Reported as Stored},
    reason::Reason,
    report::{self, Journey, Metadata, Report},
};

use super::{
    Input, Memory, Outcome, Recheck, Reported, Row, deletion, evidence,
    run::{Ending, Run, Stop, refusal},
};

impl Run {
    /// Drafts the report, lets the plugins have their say, and sends it.
    pub(super) async fn tell(mut self, mut ending: Ending, input: &Input) -> Outcome {
        let mut actions = Vec::new();
        let said = if ending.keeps_row {
            Ok(self.kept(&ending.journey))
        } else {
            self.draft(&ending, &mut actions).await
        };
        let (conditions, mut data) = match said {
            Ok(said) => said,
            Err(Stop::Ends(worse)) => {
                // The status plugin failed: what was proven stands, Health tells.
                ending = Ending {
                    finished: ending.finished,
                    ..*worse
                };
                actions.clear();
                self.kept(&ending.journey)
            }
            Err(Stop::Retry { reason, message, after }) => return Outcome::Retry { reason, message, after },
        };
        let mut memory = Map::new();
        let mut finished = self.finished();
        for one in &ending.finished {
            if !finished.contains(one) {
                finished.push(one.clone());
            }
        }
        if !finished.is_empty() {
            memory.insert("finished".to_owned(), json!(finished));
        }
        if !self.since.is_empty() {
            memory.insert("since".to_owned(), json!(self.since));
        }
        if let Some(kinds) = self.places.told() {
            memory.insert("kinds".to_owned(), kinds);
        }
        if memory.is_empty() {
            data.remove("berth");
        } else {
            data.insert("berth".to_owned(), Value::Object(memory));
        }
        let generation = self.facts.subject.generation;
        let available = conditions
            .iter()
            .any(|one| one.kind == "Available" && one.status == Truth::True);
        let report = Report {
            as_of: input.now,
            replaces: self.row().and_then(AdapterStatus::reported_at),
            adapter: self.adapter.name.clone(),
            observed_generation: generation,
            conditions,
            data: Value::Object(data),
            metadata: self.metadata(),
        };
        let row = Row::of(&report);
        let path = self.facts.subject.href.clone();
        match self.io.report(&path, report).await {
            Ok(Stored::Stored) => {}
            Ok(Stored::Discarded) => {
                return Outcome::Retry {
                    reason: Reason::WaitingForEarlierGeneration,
                    message: format!(
                        "{} was reported about at a newer generation or time",
                        self.facts.subject.key
                    ),
                    after: None,
                };
            }
            Err(FleetFault::Gone) => return deletion::vanished(self.io, input, &self.places).await,
            Err(fault) => return refusal(&fault, Reason::ReportRejected),
        }
        let mut recheck = ending.recheck;
        for (plugin, action) in actions {
            if self.io.act(plugin, action).await.is_err() {
                recheck = Recheck::Trouble { at_least: None };
                break;
            }
        }
        let available_at = if available { Some(generation) } else { None };
        Outcome::Reported(Reported {
            journey: ending.journey,
            recheck,
            await_namespace: ending.await_namespace,
            memory: Memory {
                generation,
                available_at,
                row,
                has_objects: !self.observed.is_empty(),
            },
        })
    }

    fn metadata(&self) -> Metadata {
        let generation = self.facts.subject.generation;
        evidence::metadata(self.observed.iter().filter(|one| one.generation == generation))
    }

    /// The journey's conditions with what the stored row has of the adapter's own.
    fn kept(&self, journey: &Journey) -> (Vec<Condition>, Map<String, Value>) {
        let mut conditions = journey.conditions();
        let Some(row) = self.row() else {
            return (conditions, Map::new());
        };
        for condition in &row.conditions {
            if condition.kind != "Finalized" && !conditions.iter().any(|one| one.kind == condition.kind) {
                conditions.push(condition.clone());
            }
        }
        let data = row.data.as_object().cloned().unwrap_or_default();
        (conditions, data)
    }

    /// The journey's conditions as the plugins of the status phase leave them.
    async fn draft(
        &mut self,
        ending: &Ending,
        actions: &mut Vec<(String, HttpAction)>,
    ) -> Result<(Vec<Condition>, Map<String, Value>), Stop> {
        let mut conditions = ending.journey.conditions();
        if let Journey::WorkFailed { reason, .. } = &ending.journey {
            conditions.push(Condition {
                kind: "WorkloadSucceeded".to_owned(),
                status: Truth::False,
                reason: reason.clone(),
                message: ending.journey.message(),
            });
        }
        let mut data = Map::new();
        let steps = self.adapter.steps(Phase::Status).to_vec();
        if steps.is_empty() {
            return Ok((conditions, data));
        }
        let generation = self.facts.subject.generation;
        let current = self.observed.iter().filter(|one| one.generation == generation);
        let objects: Vec<Object> = current
            .map(evidence::object)
            .chain(self.found.iter().cloned())
            .collect();
        for step in steps {
            let facts = self.facts_for(&step.plugin);
            let draft = Draft {
                journey: ending.journey.name().to_owned(),
                conditions: conditions.clone(),
                operations: self.operations.clone(),
            };
            let question = Question::Status {
                facts,
                objects: objects.clone(),
                draft,
            };
            let problem = match self.io.ask(&step.plugin, question).await {
                Ok(answer) => match answer.said {
                    Said::Status(answer) => {
                        actions.extend(answer.actions.into_iter().map(|one| (step.plugin.clone(), one)));
                        match answer.report {
                            Some(wanted) => report::merge(&mut conditions, &mut data, wanted).err(),
                            None => None,
                        }
                    }
                    Said::Preconditions(_) | Said::Resources(_) | Said::Postconditions(_) => {
                        Some("it answers another phase".to_owned())
                    }
                },
                Err(fault) => return Err(self.status_failed(&ending.journey, &fault).into()),
            };
            if let Some(problem) = problem {
                let fault = PluginFault {
                    plugin: step.plugin,
                    phase: Phase::Status,
                    reason: Reason::PluginOutputInvalid.name().to_owned(),
                    message: problem,
                };
                return Err(self.status_failed(&ending.journey, &fault).into());
            }
        }
        Ok((conditions, data))
    }

    /// A status plugin's failure, with Applied as this reconcile proved it.
    fn status_failed(&self, journey: &Journey, fault: &PluginFault) -> Ending {
        let mut ending = self.plugin_failed(fault);
        let proven = journey
            .conditions()
            .iter()
            .any(|one| one.kind == "Applied" && one.status == Truth::True);
        if let Journey::PluginFailed { applied, .. } = &mut ending.journey {
            *applied = proven;
        }
        ending
    }
}
