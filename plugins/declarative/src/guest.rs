//! The plugin: the phases of the contract, given to the library.

use berth_sdk::{
    Answer, Draft, Facts, Failure, Json, Object, Outcome, Phase, Plan, Postconditions, Preconditions, Problem,
    RawSetup, Resources, Status, StatusAnswer, Vary, VaryBy, Verdict,
};

use crate::{
    compile::compile,
    phases,
    program::{self, Program, Stores},
};

/// The plugin.
struct Declarative;

berth_sdk::plugin!(Declarative: setup, vary, preconditions, resources, postconditions, status);

impl RawSetup for Declarative {
    fn prepare_raw(config: &Json) -> Result<Vec<u8>, Vec<Problem>> {
        compile(config.text())?
            .to_bytes()
            .map_err(|message| vec![Problem::new("", message)])
    }
}

impl Vary for Declarative {
    fn vary(prepared: &[u8], phase: Phase) -> VaryBy {
        program::vary(prepared, phase)
    }
}

impl Preconditions for Declarative {
    fn preconditions(facts: &Facts) -> Result<Answer<Verdict>, Failure> {
        Ok(phases::preconditions(&part(facts)?, facts)?.into())
    }
}

impl Resources for Declarative {
    fn resources(facts: &Facts, objects: &[Object]) -> Result<Answer<Plan>, Failure> {
        Ok(Plan::last(phases::resources(&part(facts)?, facts, objects)?).into())
    }
}

impl Postconditions for Declarative {
    fn postconditions(facts: &Facts, objects: &[Object]) -> Result<Answer<Outcome>, Failure> {
        Ok(phases::postconditions(&part(facts)?, facts, objects)?.into())
    }
}

impl Status for Declarative {
    fn status(facts: &Facts, objects: &[Object], draft: &Draft) -> Result<StatusAnswer, Failure> {
        let report = phases::status(&part(facts)?, facts, objects, draft)?;
        Ok(StatusAnswer {
            report,
            ..StatusAnswer::default()
        })
    }
}

/// What `setup` prepared for a phase; without it, or with that of another version, what it would prepare.
fn part<P: Stores>(facts: &Facts) -> Result<P, Failure> {
    if let Ok(part) = Program::part(&facts.prepared) {
        return Ok(part);
    }
    compile(facts.config.text()).map(P::of).map_err(|problems| {
        let first = problems.first();
        let message = first.map_or_else(String::new, |problem| format!("{}: {}", problem.path, problem.message));
        Failure::new("ConfigInvalid", format!("{message}. Correct the adapter document."))
    })
}
