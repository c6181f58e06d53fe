//! Checks a configuration and turns it into a [`Program`].
//!
//! Reports every problem at once, each with its path and, where one is known, a hint. Never evaluates anything.

use std::{collections::HashSet, mem::take};

use berth_sdk::Problem;
use serde_json::{Map, Value as Json};

use crate::{
    config::{self, Config},
    expression::Expression,
    facts::{ROOTS, ROOTS_WITH_DRAFT, ROOTS_WITH_OBJECTS},
    names::{is_name, is_pascal_case},
    problem::{Flaw, did_you_mean},
    program::{Condition, Failed, Manifest, Node, Part, Postcondition, Precondition, Program, Resource, Status},
    reads::Reads,
    template::Template,
    yaml,
};

/// The key that makes a map a typed value.
pub(crate) const EXPRESSION: &str = "expression";

/// Checks a configuration.
///
/// # Errors
/// Every problem found.
pub fn compile(config: &str) -> Result<Program, Vec<Problem>> {
    let config: Config = serde_json::from_str(config)
        .map_err(|error| vec![Flaw::new(format!("the configuration is not as expected: {error}")).at("")])?;
    let mut compiler = Compiler::default();
    let program = Program {
        preconditions: compiler.part(|compiler| compiler.preconditions(&config.preconditions)),
        resources: compiler.part(|compiler| compiler.resources(&config.resources)),
        postconditions: compiler.part(|compiler| compiler.postconditions(&config.postconditions)),
        status: compiler.part(|compiler| Status {
            conditions: compiler.conditions(&config.status.conditions),
            data: compiler.data(&config.status.data),
        }),
    };
    if compiler.problems.is_empty() {
        Ok(program)
    } else {
        Err(compiler.problems)
    }
}

#[derive(Default)]
struct Compiler {
    problems: Vec<Problem>,
    /// What the part reads that is being compiled.
    reads: Reads,
}

impl Compiler {
    /// A part with what it reads.
    fn part<S>(&mut self, steps: impl FnOnce(&mut Self) -> S) -> Part<S> {
        let steps = steps(self);
        Part {
            reads: take(&mut self.reads),
            steps,
        }
    }

    fn preconditions(&mut self, steps: &[config::Precondition]) -> Vec<Precondition> {
        self.names("preconditions", steps.iter().map(|step| step.name.as_str()));
        let mut compiled = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let path = format!("preconditions[{index}]");
            let expression = self.expression(&format!("{path}.expression"), &step.expression, ROOTS);
            let message = self.optional_template(&format!("{path}.message"), step.message.as_deref(), ROOTS);
            compiled.extend(expression.map(|expression| Precondition {
                name: step.name.clone(),
                expression,
                otherwise: step.otherwise,
                message,
                recheck_after_ms: step.recheck_after_ms,
            }));
        }
        compiled
    }

    fn resources(&mut self, resources: &[config::Resource]) -> Vec<Resource> {
        self.names("resources", resources.iter().map(|resource| resource.name.as_str()));
        self.order(resources);
        let mut compiled = Vec::new();
        for (index, resource) in resources.iter().enumerate() {
            let path = format!("resources[{index}]");
            let when = resource
                .when
                .as_deref()
                .and_then(|when| self.expression(&format!("{path}.when"), when, ROOTS_WITH_OBJECTS));
            let manifest = self.manifest(&format!("{path}.manifest"), &resource.manifest);
            compiled.extend(manifest.map(|manifest| Resource {
                name: resource.name.clone(),
                manifest,
                when,
                recreate: resource.recreate,
                after: resource.after.clone(),
                during: resource.during,
            }));
        }
        compiled
    }

    fn manifest(&mut self, path: &str, manifest: &Json) -> Option<Manifest> {
        match manifest {
            Json::Object(entries) => {
                for key in ["apiVersion", "kind", "metadata"] {
                    if !entries.contains_key(key) {
                        self.add(Flaw::new(format!("the manifest has no `{key}`")), path);
                    }
                }
                self.node(path, manifest, ROOTS_WITH_OBJECTS).map(Manifest::Document)
            }
            Json::String(text) => {
                if !text.contains("{{")
                    && let Err(message) = yaml::object(text)
                {
                    self.add(Flaw::new(message), path);
                }
                self.template(path, text, ROOTS_WITH_OBJECTS).map(Manifest::Yaml)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) => {
                self.add(
                    Flaw::new("a manifest must be a map, or a text that gives YAML")
                        .hint("begin with `apiVersion`, `kind` and `metadata`"),
                    path,
                );
                None
            }
        }
    }

    fn postconditions(&mut self, steps: &[config::Postcondition]) -> Vec<Postcondition> {
        self.names("postconditions", steps.iter().map(|step| step.name.as_str()));
        let mut compiled = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let path = format!("postconditions[{index}]");
            let roots = ROOTS_WITH_OBJECTS;
            let expression = self.expression(&format!("{path}.expression"), &step.expression, roots);
            let message = self.optional_template(&format!("{path}.message"), step.message.as_deref(), roots);
            let failed = step.failed.as_ref().and_then(|failed| {
                let path = format!("{path}.failed");
                self.pascal_case(&format!("{path}.reason"), &failed.reason);
                let message = self.optional_template(&format!("{path}.message"), failed.message.as_deref(), roots);
                let expression = self.expression(&format!("{path}.expression"), &failed.expression, roots)?;
                Some(Failed {
                    expression,
                    reason: failed.reason.clone(),
                    message,
                })
            });
            compiled.extend(expression.map(|expression| Postcondition {
                name: step.name.clone(),
                expression,
                message,
                failed,
            }));
        }
        compiled
    }

    fn conditions(&mut self, conditions: &[config::Condition]) -> Vec<Condition> {
        let mut seen = HashSet::new();
        let mut compiled = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            let path = format!("status.conditions[{index}]");
            let roots = ROOTS_WITH_DRAFT;
            self.pascal_case(&format!("{path}.type"), &condition.type_name);
            if !seen.insert(&condition.type_name) {
                self.add(
                    Flaw::new(format!("the type `{}` is there twice", condition.type_name)),
                    &format!("{path}.type"),
                );
            }
            if condition.type_name == "Finalized" {
                self.add(
                    Flaw::new("`Finalized` is set by the host alone"),
                    &format!("{path}.type"),
                );
            }
            if let Some(reason) = condition.reason.as_deref().filter(|reason| !reason.contains("{{")) {
                self.pascal_case(&format!("{path}.reason"), reason);
            }
            let expression = self.expression(&format!("{path}.expression"), &condition.expression, roots);
            let reason = self.optional_template(&format!("{path}.reason"), condition.reason.as_deref(), roots);
            let message = self.optional_template(&format!("{path}.message"), condition.message.as_deref(), roots);
            compiled.extend(expression.map(|expression| Condition {
                type_name: condition.type_name.clone(),
                expression,
                reason,
                message,
            }));
        }
        compiled
    }

    fn data(&mut self, data: &Map<String, Json>) -> Vec<(String, Node)> {
        let mut compiled = Vec::new();
        for (key, value) in data {
            let node = self.node(&format!("status.data.{key}"), value, ROOTS_WITH_DRAFT);
            compiled.extend(node.map(|node| (key.clone(), node)));
        }
        compiled
    }

    fn node(&mut self, path: &str, json: &Json, roots: &[&str]) -> Option<Node> {
        Some(match json {
            Json::Null => Node::Null,
            Json::Bool(value) => Node::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Node::Int(int),
                (None, Some(uint)) => Node::UInt(uint),
                (None, None) => Node::Float(number.as_f64()?),
            },
            Json::String(text) => Node::Text(self.template(path, text, roots)?),
            Json::Array(items) => {
                let mut list = Vec::new();
                for (index, item) in items.iter().enumerate() {
                    list.extend(self.node(&format!("{path}[{index}]"), item, roots));
                }
                Node::List(list)
            }
            Json::Object(entries) => {
                if let (1, Some(Json::String(source))) = (entries.len(), entries.get(EXPRESSION)) {
                    return self
                        .expression(&format!("{path}.{EXPRESSION}"), source, roots)
                        .map(Node::Expression);
                }
                let mut map = Vec::new();
                for (key, value) in entries {
                    let path = format!("{path}.{key}");
                    let key = self.template(&path, key, roots);
                    let node = self.node(&path, value, roots);
                    map.extend(key.zip(node));
                }
                Node::Map(map)
            }
        })
    }

    fn expression(&mut self, path: &str, source: &str, roots: &[&str]) -> Option<Expression> {
        match Expression::compile(source, roots) {
            Ok(expression) => {
                expression.find_reads(&mut self.reads);
                Some(expression)
            }
            Err(flaws) => {
                flaws.into_iter().for_each(|flaw| self.add(flaw, path));
                None
            }
        }
    }

    fn template(&mut self, path: &str, source: &str, roots: &[&str]) -> Option<Template> {
        match Template::compile(source, roots) {
            Ok(template) => {
                template.find_reads(roots, &mut self.reads);
                Some(template)
            }
            Err(flaws) => {
                flaws.into_iter().for_each(|flaw| self.add(flaw, path));
                None
            }
        }
    }

    fn optional_template(&mut self, path: &str, source: Option<&str>, roots: &[&str]) -> Option<Template> {
        source.and_then(|source| self.template(path, source, roots))
    }

    fn pascal_case(&mut self, path: &str, name: &str) {
        if !is_pascal_case(name) {
            self.add(
                Flaw::new(format!("`{name}` must be in PascalCase")).hint("write it like `NetworkReady`"),
                path,
            );
        }
    }

    fn names<'a>(&mut self, list: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = HashSet::new();
        for (index, name) in names.enumerate() {
            let path = format!("{list}[{index}].name");
            if !is_name(name) {
                let flaw = Flaw::new(format!("`{name}` cannot be a name"))
                    .hint("use letters, digits, `_` and `-`, and begin with a letter");
                self.add(flaw, &path);
            }
            if !seen.insert(name) {
                self.add(Flaw::new(format!("the name `{name}` is there twice")), &path);
            }
        }
    }

    /// Names in `after` must exist, and nothing may wait for itself.
    fn order(&mut self, resources: &[config::Resource]) {
        let known: Vec<&str> = resources.iter().map(|resource| resource.name.as_str()).collect();
        for (index, resource) in resources.iter().enumerate() {
            for (position, name) in resource.after.iter().enumerate() {
                let path = format!("resources[{index}].after[{position}]");
                if !known.contains(&name.as_str()) {
                    let hint = did_you_mean(name, known.iter().copied());
                    self.add(Flaw::new(format!("there is no resource `{name}`")).hint(hint), &path);
                } else if reaches(resources, name, &resource.name) {
                    self.add(Flaw::new(format!("`{}` would wait for itself", resource.name)), &path);
                }
            }
        }
    }

    fn add(&mut self, flaw: Flaw, path: &str) {
        self.problems.push(flaw.at(path));
    }
}

/// Whether `from` waits for `to`, directly or not.
fn reaches(resources: &[config::Resource], from: &str, to: &str) -> bool {
    let mut seen = HashSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            let waits = resources
                .iter()
                .filter(|resource| resource.name == name)
                .flat_map(|resource| &resource.after);
            open.extend(waits.map(String::as_str));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop here")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn problems(config: &Json) -> Vec<String> {
        let problems = compile(&config.to_string()).err().unwrap_or_default();
        problems
            .into_iter()
            .map(|problem| format!("{}: {}", problem.path, problem.message))
            .collect()
    }

    #[test]
    fn an_empty_configuration_is_complete() {
        assert_eq!(compile("{}"), Ok(Program::default()));
    }

    #[test]
    fn every_problem_is_told_with_its_path() {
        let config = json!({
            "preconditions": [
                {"name": "a", "expression": "subject.id ="},
                {"name": "a", "expression": "objects.x", "message": "{{ if }}"},
                {"name": "1 b", "expression": "true"},
            ],
            "resources": [
                {"name": "r", "manifest": {"apiVersion": "v1", "kind": "X", "metadata": {"name": "{{ .x }}"},
                    "spec": [{"expression": "subject.("}, {"a{{": 1}]}, "when": "draft.journey == ''"},
                {"name": "s", "manifest": {"kind": "X"}, "after": ["t", "s"]},
                {"name": "u", "manifest": 1, "after": ["v"]},
                {"name": "v", "manifest": "- a", "after": ["u"]},
            ],
            "postconditions": [
                {"name": "p", "expression": "true", "failed": {"expression": "nope()", "reason": "not pascal", "message": "{{ end }}"}},
            ],
            "status": {
                "conditions": [
                    {"type": "Ready", "expression": "draft.x"},
                    {"type": "Ready", "expression": "true", "reason": "no-pascal"},
                    {"type": "Finalized", "expression": "true"},
                ],
                "data": {"x": {"y": ["{{ .nope }}"]}},
            },
        });
        let expected = [
            "preconditions[1].name: the name `a` is there twice",
            "preconditions[2].name: `1 b` cannot be a name",
            "preconditions[0].expression: 1:12: mismatched input '=' expecting <EOF>",
            "preconditions[1].expression: unknown name `objects`",
            "preconditions[1].message: 1:1: `if` is not closed",
            "resources[1].after[0]: there is no resource `t`",
            "resources[1].after[1]: `s` would wait for itself",
            "resources[2].after[0]: `u` would wait for itself",
            "resources[3].after[0]: `v` would wait for itself",
            "resources[0].when: unknown name `draft`",
            "resources[0].manifest.metadata.name: 1:4: unknown name `.x`",
            "resources[0].manifest.spec[0].expression: 1:9: expected identifier after '.'",
            "resources[0].manifest.spec[1].a{{: 1:2: the action is not closed",
            "resources[1].manifest: the manifest has no `apiVersion`",
            "resources[1].manifest: the manifest has no `metadata`",
            "resources[2].manifest: a manifest must be a map, or a text that gives YAML",
            "resources[3].manifest: the YAML must be a map",
            "postconditions[0].failed.reason: `not pascal` must be in PascalCase",
            "postconditions[0].failed.message: 1:1: `{{ end }}` without a block",
            "postconditions[0].failed.expression: unknown function `nope`",
            "status.conditions[1].type: the type `Ready` is there twice",
            "status.conditions[1].reason: `no-pascal` must be in PascalCase",
            "status.conditions[2].type: `Finalized` is set by the host alone",
            "status.data.x.y[0]: 1:4: unknown name `.nope`",
        ];
        assert_eq!(problems(&config), expected);
    }

    #[test]
    fn keys_that_nobody_knows_are_refused() {
        let message = problems(&json!({"preconditions": [{"name": "a", "expresion": "true"}]})).join("");
        assert!(message.contains("unknown field `expresion`"), "{message}");
    }

    proptest! {
        #[test]
        fn no_configuration_makes_it_panic(name in ".{0,8}", expression in ".{0,16}", text in ".{0,16}") {
            let config = json!({
                "preconditions": [{"name": name, "expression": expression, "message": text}],
                "resources": [{"name": name, "manifest": text, "when": expression}, {"name": text, "manifest": {&text: &text}}],
                "status": {"data": {&name: {"expression": expression}, &text: [text]}},
            });
            let _ = compile(&config.to_string());
        }

        #[test]
        fn no_stored_form_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // As the whole, and as each part.
            for stored in [bytes.clone(), postcard::to_allocvec(&[bytes.as_slice(); 4]).unwrap()] {
                let _ = Program::part::<Part<Vec<Precondition>>>(&stored);
                let _ = Program::part::<Part<Vec<Resource>>>(&stored);
                let _ = Program::part::<Part<Vec<Postcondition>>>(&stored);
                let _ = Program::part::<Part<Status>>(&stored);
            }
        }
    }
}
