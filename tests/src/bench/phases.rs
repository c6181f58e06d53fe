//! What the phases of an adapter document cost: calls of the declarative plugin.

use std::{hint::black_box, sync::Arc};

use anyhow::{Result, anyhow, bail, ensure};
use berth_declarative::{
    compile::compile,
    phases,
    program::{Program, Stores},
};
use berth_engine::contract::{Achievement, Object, Question, Said, Verdict};
use serde_json::{Value, json};

use super::{Baseline, Figure, call, component};

/// Each phase of a document that makes one Job, whose Job is done.
pub(super) async fn of_a_document() -> Result<Vec<Figure>> {
    let runtime = berth::serve::runtime(None)?;
    let plugin = call::load(&runtime, component("declarative.wasm")?).await?;
    let facts = Arc::new(call::facts()?);
    let questions = [
        (
            "declarative-preconditions",
            "one expression over 4 KB of facts, all limits, a fresh instance each",
            Question::Preconditions { facts: facts.clone() },
        ),
        (
            "declarative-resources",
            "the manifest of a Job, of the same facts",
            Question::Resources {
                facts: facts.clone(),
                objects: Vec::new(),
            },
        ),
        (
            "declarative-postconditions",
            "one expression over a Job that is done",
            Question::Postconditions {
                facts,
                objects: vec![Object {
                    name: "work".to_owned(),
                    generation: 3,
                    document: job().into(),
                    diagnosis: None,
                }],
            },
        ),
    ];
    let mut figures = Vec::new();
    for (name, what, question) in questions {
        let samples = call::calls(std::slice::from_ref(&plugin), &question, &config(), is_expected).await?;
        figures.push(Figure {
            name: name.to_owned(),
            what,
            samples,
            goal_p50: None,
            goal_p99: None,
            baselines: vec![native(&question)?],
        });
    }
    Ok(figures)
}

fn is_expected(said: &Said) -> bool {
    match said {
        Said::Preconditions(verdict) => *verdict == Verdict::Proceed,
        Said::Resources(plan) => plan.operations.len() == 1,
        Said::Postconditions(achievement) => *achievement == Achievement::Achieved,
        Said::Status(_) => false,
    }
}

/// The plugin's own function of this phase, compiled for this machine.
fn native(question: &Question) -> Result<Baseline> {
    let program = compile(&config().to_string())
        .and_then(|program| program.to_bytes().map_err(|_| Vec::new()))
        .map_err(|problems| anyhow!("the document is refused: {problems:?}"))?;
    let told = berth_sdk::Facts {
        adapter: question.facts().adapter.clone(),
        ..berth_sdk::testing::facts(question.facts().subject.document.clone().into_value())
    };
    let objects = [berth_sdk::Object {
        name: "work".to_owned(),
        generation: 3,
        document: job().into(),
        ..Default::default()
    }];
    let evaluate = || {
        let stored = black_box(&program);
        let is_expected = match question {
            Question::Preconditions { .. } => {
                phases::preconditions(&part(stored)?, black_box(&told)) == Ok(berth_sdk::Verdict::Proceed)
            }
            Question::Resources { .. } => {
                phases::resources(&part(stored)?, black_box(&told), &[]).is_ok_and(|plan| plan.len() == 1)
            }
            Question::Postconditions { .. } => {
                phases::postconditions(&part(stored)?, black_box(&told), &objects) == Ok(berth_sdk::Outcome::Achieved)
            }
            Question::Status { .. } => bail!("it is not measured"),
        };
        Ok(is_expected)
    };
    call::beside(evaluate, |is_expected| {
        ensure!(is_expected?, "the native function says something else");
        Ok(())
    })
}

fn part<P: Stores>(stored: &[u8]) -> Result<P> {
    Program::part(stored).map_err(|_| anyhow!("what was prepared cannot be read"))
}

/// A document of one Job, as its author writes it.
fn config() -> Value {
    json!({
        "preconditions": [{
            "name": "mine", "expression": "subject.spec.provider == 'gcp'", "otherwise": "NotApplicable",
            "message": "nothing to do",
        }],
        "resources": [{"name": "work", "manifest": {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job-{{ .subject.id }}"},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "work", "image": "registry.example.com/work:1"}],
            }}},
        }}],
        "postconditions": [{
            "name": "done", "expression": "objects.work.status.succeeded > 0", "message": "the work is under way",
        }],
    })
}

/// The Job, done, as the host shows it.
fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "job-1", "namespace": "hyperfleet-adapters", "generation": 1},
        "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]},
    })
}
