#![allow(clippy::unwrap_used, reason = "a test may stop here")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

const ROOTS: &[&str] = &["subject", "objects", "statuses", "now"];

fn facts() -> Map<String, Json> {
    let facts = json!({
        "subject": {
            "id": "c-1", "generation": 3, "deleting": false, "nothing": null,
            "spec": {"region": "europe-west1", "replicas": 2, "share": 0.5, "zones": ["a", "b"], "big": 18_446_744_073_709_551_615_u64},
        },
        "objects": {"job": {"status": {"conditions": [
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-03-07T15:00:00Z"},
            {"type": "Failed", "status": "False"},
        ], "values": [{"name": "ip", "fieldValue": {"string": "10.0.0.1"}}]}}},
        "statuses": {"validation": {"available": true, "conditions": {"Available": {"status": "True"}}}},
        "now": "2026-03-07T15:04:05.000001Z",
    });
    facts.as_object().unwrap().clone()
}

fn evaluate(source: &str) -> Result<Option<Json>, Fault> {
    let expression = Expression::compile(source, ROOTS).unwrap();
    // What is stored must mean the same.
    let stored: Expression = postcard::from_bytes(&postcard::to_allocvec(&expression).unwrap()).unwrap();
    assert_eq!(stored, expression);
    stored.evaluate(&Facts::new(&facts()))
}

fn gives(cases: &[(&str, Json)]) {
    for (source, expected) in cases {
        assert_eq!(evaluate(source), Ok(Some(expected.clone())), "{source}");
    }
}

fn flaws(source: &str) -> Vec<String> {
    let flaws = Expression::compile(source, ROOTS).unwrap_err();
    flaws
        .into_iter()
        .map(|flaw| {
            [Some(flaw.message), flaw.hint]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" | ")
        })
        .collect()
}

#[test]
fn whole_numbers_of_facts_are_ints() {
    gives(&[
        ("subject.generation + 1", json!(4)),
        ("subject.generation == 3", json!(true)),
        ("subject.spec.replicas < 2.5", json!(true)),
        ("subject.spec.share * 3.0", json!(1.5)),
        ("subject.spec.share * 2.0", json!(1)),
        ("type(subject.generation) == int", json!(true)),
        ("subject.spec.big > 1u", json!(true)),
        ("string(1234567.0)", json!("1.234567e+06")),
        ("string(subject.generation)", json!("3")),
    ]);
}

#[test]
fn optional_fields_have_defaults() {
    gives(&[
        ("subject.?spec.?tier.orValue('basic')", json!("basic")),
        (
            "subject.?spec.?region.orValue(subject.spec.nothing)",
            json!("europe-west1"),
        ),
        ("subject.spec.?tier.hasValue()", json!(false)),
        ("subject.spec[?'region'].value()", json!("europe-west1")),
        (
            "subject.spec.?a.or(subject.spec.?region).orValue('x')",
            json!("europe-west1"),
        ),
        ("[?subject.spec.?a, ?subject.spec.?region]", json!(["europe-west1"])),
        ("{?'a': subject.spec.?a, 'b': 1}", json!({"b": 1})),
        ("[optional.of(1), optional.none()].unwrapOpt()", json!([1])),
        ("subject.spec.zones.first().orValue('none')", json!("a")),
        ("subject.spec.zones.last().orValue('none')", json!("b")),
    ]);
    assert_eq!(evaluate("subject.spec.?tier"), Ok(None));
}

#[test]
fn presence_of_a_field_of_what_is_no_map_is_false() {
    gives(&[
        ("has(subject.spec.region)", json!(true)),
        ("has(subject.spec.tier)", json!(false)),
        ("has(subject.nothing.x)", json!(false)),
        ("has(subject.id.x)", json!(false)),
    ]);
}

#[test]
fn lists_and_texts_have_the_usual_functions() {
    gives(&[
        ("subject.spec.zones.filter(z, z != 'a')", json!(["b"])),
        ("subject.spec.zones.map(z, z + '1')", json!(["a1", "b1"])),
        (
            "subject.spec.zones.exists(z, z == 'b') && subject.spec.zones.all(z, size(z) == 1)",
            json!(true),
        ),
        ("subject.spec.zones + ['c']", json!(["a", "b", "c"])),
        ("['b', 'a', 'b'].distinct().sort()", json!(["a", "b"])),
        ("[3, 1, 2].sortBy(x, -x)", json!([3, 2, 1])),
        ("[[1], [2, 3]].flatten()", json!([1, 2, 3])),
        ("subject.spec.region.split('-').join('/')", json!("europe/west1")),
        ("subject.spec.region.matches('^europe-')", json!(true)),
        ("matches(subject.id, '^[a-z]-\\\\d{1,3}$')", json!(true)),
        ("subject.id.matches('(?i)^C')", json!(true)),
        ("subject.spec.region.startsWith('europe') ? 'eu' : 'other'", json!("eu")),
        (
            "subject.spec.region.replace('europe', 'eu').upperAscii()",
            json!("EU-WEST1"),
        ),
        ("'%s has %d'.format([subject.id, 2])", json!("c-1 has 2")),
        ("'b' in subject.spec.zones && 'region' in subject.spec", json!(true)),
        ("{'a': [1, {'b': null}]}", json!({"a": [1, {"b": null}]})),
        ("b'hi'", json!("aGk=")),
    ]);
}

#[test]
fn times_are_those_of_the_reconcile() {
    gives(&[
        ("now()", json!("2026-03-07T15:04:05.000001Z")),
        ("now", json!("2026-03-07T15:04:05.000001Z")),
        (
            "timestamp(now()) - timestamp('2026-03-07T15:04:00Z') > duration('5s')",
            json!(true),
        ),
        ("timestamp('2026-03-07T17:04:05+02:00')", json!("2026-03-07T15:04:05Z")),
        ("timestamp('2026-03-07T17:04:05+02:00').getHours()", json!(15)),
        ("duration('1m30s')", json!("90s")),
        ("duration('-250ms')", json!("-0.25s")),
    ]);
}

#[test]
fn conditions_are_found_in_lists_and_in_maps() {
    gives(&[
        (
            "conditionStatus(objects.job.status.conditions, 'Complete')",
            json!("True"),
        ),
        (
            "objects.job.status.conditions.conditionStatus('Gone')",
            json!("Unknown"),
        ),
        (
            "conditionStatus(statuses.validation.conditions, 'Available')",
            json!("True"),
        ),
        ("conditionAge(objects.job.status.conditions, 'Complete')", json!(245)),
        ("conditionAge(objects.job.status.conditions, 'Failed')", json!(-1)),
        ("stableFor(objects.job.status.conditions, 'Complete', 240)", json!(true)),
        (
            "stableFor(objects.job.status.conditions, 'Complete', 300)",
            json!(false),
        ),
        (
            "conditionStatus(objects.job.status.conditions.filter(c, c.status == 'True'), 'Complete')",
            json!("True"),
        ),
        ("triState(false, true)", json!("False")),
        ("dig(objects, 'job.status.conditions.1.type')", json!("Failed")),
        ("objects.dig('job.nothing.x')", json!(null)),
        ("statusFeedbackValue(objects.job.status, 'ip')", json!("10.0.0.1")),
        ("toJson({'b': 1, 'a': [true]})", json!("{\"a\":[true],\"b\":1}")),
    ]);
    assert!(matches!(
        evaluate("conditionStatus(1, 'Complete')"),
        Err(Fault::Broken { .. })
    ));
}

#[test]
fn a_missing_field_is_told_with_its_path() {
    for (source, path) in [
        ("objects.job.status.succeeded > 0", "objects.job.status.succeeded"),
        ("objects.other.status.succeeded > 0", "objects.other.status.succeeded"),
        ("statuses['dns-zone'].available", "statuses[\"dns-zone\"].available"),
        ("subject.spec.zones[5] == 'x'", "subject.spec.zones[5]"),
        ("subject.nothing.x == 1", "subject.nothing.x"),
        ("objects.job.status.conditions.exists(c, c.since > 1)", "since"),
    ] {
        assert_eq!(evaluate(source), Err(Fault::missing(path)), "{source}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_not_taken_for_missing() {
    for source in [
        "subject.id > 1",
        "subject.generation / 0",
        "subject.spec.replicas * 1.5",
        "subject.id.x",
        "int('x')",
    ] {
        assert!(
            matches!(evaluate(source), Err(Fault::Broken { .. })),
            "{source}: {:?}",
            evaluate(source)
        );
    }
}

#[test]
fn a_decision_must_be_true_or_false() {
    let holds = |source| Expression::compile(source, ROOTS).unwrap().holds(&Facts::new(&facts()));
    assert_eq!(holds("subject.generation > 2"), Ok(true));
    assert_eq!(holds("subject.spec.?ready"), Err(Fault::missing("subject.spec.?ready")));
    assert_eq!(
        holds("subject.generation"),
        Err(Fault::broken("it gives the number 3, not true or false"))
    );
    assert_eq!(
        holds("subject.id"),
        Err(Fault::broken("it gives the text \"c-1\", not true or false"))
    );
}

#[test]
fn syntax_errors_have_a_place_and_a_hint() {
    for (source, expected) in [
        (
            "subject.id = 'x'",
            "1:12: mismatched input '=' expecting <EOF> | compare with `==`",
        ),
        (
            "subject.id ==",
            "1:14: mismatched input '<EOF>' expecting expression | it ends too early: look for a missing bracket, \
             quote or operand",
        ),
        ("(subject.id", "1:12: expected ')'"),
        ("a{b: 1}", "there are no message literals here: `a{…}`"),
        (" ", "the expression is empty | write `true` for what always holds"),
    ] {
        assert_eq!(flaws(source), [expected], "{source}");
    }
}

#[test]
fn unknown_names_and_functions_are_found_before_evaluation() {
    const KNOWN: &str = "known are `subject`, `objects`, `statuses`, `now`";
    let unknown = |name: &str| format!("unknown name `{name}` | {KNOWN}");
    for (source, expected) in [
        (
            "subjet.id == 'x'",
            vec!["unknown name `subjet` | did you mean `subject`?".to_owned()],
        ),
        (
            "spec.region == 'x'",
            vec!["unknown name `spec` | did you mean `subject.spec`?".to_owned()],
        ),
        ("subject.spec.zones.exists(z, zone == z)", vec![unknown("zone")]),
        (
            "sizeof(subject.spec.zones)",
            vec!["unknown function `sizeof` | did you mean `size`?".to_owned()],
        ),
        (
            "subject.id.startWith('x')",
            vec!["unknown function `startWith` | did you mean `startsWith`?".to_owned()],
        ),
        (
            "startsWith(subject.id, 'x')",
            vec!["unknown function `startsWith` | write `x.startsWith(…)`".to_owned()],
        ),
        (
            "subject.spec.zones.filter(z)",
            vec![
                "`filter` is called wrongly | write it as in `list.filter(x, condition)`".to_owned(),
                unknown("z"),
            ],
        ),
        ("has(subject)", vec!["1:5: invalid argument to has() macro".to_owned()]),
        ("draft.journey == 'x'", vec![unknown("draft")]),
    ] {
        assert_eq!(flaws(source), expected, "{source}");
    }
}

#[test]
fn macros_bind_their_names_only_inside() {
    assert!(Expression::compile("subject.spec.zones.map(z, z) == [z]", ROOTS).is_err());
    assert!(Expression::compile("subject.spec.?region.optMap(r, r + 'x').orValue('')", ROOTS).is_ok());
}

#[test]
fn expressions_that_are_too_long_or_too_deep_are_refused() {
    for source in [
        "1+".repeat(MAX_LENGTH),
        format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        format!("1{}", "+1".repeat(500)),
        format!("1{}", "+1".repeat(2000)),
        format!("{}1", "true ? 1 : ".repeat(500)),
        format!("subject{}", ".a".repeat(500)),
    ] {
        assert!(Expression::compile(&source, ROOTS).is_err());
    }
    assert_eq!(evaluate(&format!("1{}", "+1".repeat(40))), Ok(Some(json!(41))));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "[a-z0-9 .()\\[\\]{}'\"?:+*/<>=&|!,-]{0,60}") {
        if let Ok(expression) = Expression::compile(&source, ROOTS) {
            let _ = expression.evaluate(&Facts::new(&facts()));
        }
    }

    #[test]
    fn no_chain_of_known_words_makes_it_panic(words in prop::collection::vec(prop::sample::select(vec![
        "subject", ".spec", ".zones", "[0]", "['x']", ".?a", ".orValue(", "1", "2.5", "'t'", ")", "(", " + ", " == ", " > ",
        " && ", "size(", ".map(x, ", "x", "has(", "null", "[", "]", ", ", "dig(", "timestamp(", "now()", "conditionAge(",
        ".split('')", ".slice(", "toJson(", "b'x'", "{", "}", ": ", "-", "9223372036854775807", " in ", " ? ", ".flatten(",
        "lists.range(", "string(", ".format(", "'%s%.3f%x'", ".substring(", ".charAt(", ".getHours('x')", "duration('1s')",
    ]), 1..12)) {
        if let Ok(expression) = Expression::compile(&words.concat(), ROOTS) {
            let _ = expression.evaluate(&Facts::new(&facts()));
        }
    }
}

#[test]
fn an_expression_means_the_same_whether_all_functions_are_there_or_those_that_it_calls() {
    let roots = json!({"subject": {"spec": {"zones": ["b", "a"], "replicas": 2}, "at": "2026-01-01T00:00:00Z"}, "now": "2026-01-02T00:00:00Z"});
    let roots = roots.as_object().unwrap();
    for source in [
        "has(subject.spec.zones) && !has(subject.spec.none)",
        "subject.spec.zones.all(zone, zone != 'c') || subject.spec.replicas in [1, 3]",
        "subject.spec.zones.first() + subject.spec.zones[1]",
        "subject.?spec.?none.orValue(-subject.spec.replicas)",
        "dig(subject, 'spec.replicas') == 2 ? subject.dig('spec.zones') : []",
        "{'a': subject.spec.replicas % 2, 'a': 3}",
        "size(subject.spec) + subject.spec.zones.size() + size('äö') + b'abc'.size()",
        "size(subject.spec.replicas)",
        "subject.spec.zones[0].startsWith('b') && 'abc'.endsWith('bc') && subject.at.contains('-01T')",
        "subject.spec.replicas.contains('2')",
        "'abc'.contains(1)",
        "subject.spec.zones > 3",
        "subject.spec.none",
    ] {
        let few = Expression::compile(source, &["subject"]).unwrap();
        // A type's name needs all functions, and is never read here.
        let all = Expression::compile(&format!("true || type(1) == int ? ({source}) : 0"), &["subject"]).unwrap();
        let facts = Facts::new(roots);
        assert_eq!(few.evaluate(&facts), all.evaluate(&facts), "{source}");
    }
}

#[test]
fn an_expression_tells_the_facts_that_it_reads() {
    for (source, paths) in [
        ("true", &[] as &[&str]),
        (
            "subject.spec.size > 1 && subject.id == 'x'",
            &["subject.id", "subject.spec.size"],
        ),
        ("subject.spec['a-b'].c == 1", &["subject.spec.a-b.c"]),
        ("has(subject.spec.region.name)", &["subject.spec.region.name"]),
        ("subject.spec.zones[0] == 'a'", &["subject.spec.zones.0"]),
        ("subject.spec[subject.id] == 1", &["subject.id", "subject.spec"]),
        ("subject.spec.?region.orValue('x') == 'x'", &["subject.spec"]),
        (
            "subject.spec.zones.exists(z, z.name == subject.id)",
            &["subject.id", "subject.spec.zones"],
        ),
        ("[{'a': 1}].map(subject, subject.a) == [1]", &[]),
        ("size(subject) > 0 && subject.id != ''", &["subject"]),
        ("dig(subject.spec, 'a.b') == null", &["subject.spec"]),
        (".subject.id == ''", &["subject.id"]),
        ("now != ''", &["now"]),
        ("now() != ''", &["now"]),
        (
            "stableFor(subject.status.conditions, 'Ready', 300)",
            &["now", "subject.status.conditions"],
        ),
    ] {
        let (mut reads, mut expected) = (Reads::default(), Reads::default());
        Expression::compile(source, ROOTS).unwrap().find_reads(&mut reads);
        paths.iter().for_each(|path| expected.add(path.split('.')));
        assert_eq!(reads, expected, "{source}");
    }
}
