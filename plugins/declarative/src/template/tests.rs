#![allow(clippy::unwrap_used, reason = "a test may stop here")]

use proptest::prelude::*;
use serde_json::json;

use super::*;

const ROOTS: &[&str] = &["subject", "objects", "now"];

fn facts() -> Map<String, Json> {
    let facts = json!({
        "subject": {
            "id": "c-1", "name": "Jean's first CLUSTER", "generation": 1_000_000, "nothing": null, "empty": "",
            "ready": true, "share": 0.25, "large": 5_242_880.0,
            "spec": {"zones": ["a", "b"], "labels": {"team": "x", "tier": null}},
        },
        "objects": {},
        "now": "2026-03-07T15:04:05.000001Z",
    });
    facts.as_object().unwrap().clone()
}

fn renderer() -> Renderer {
    Renderer::new(&facts())
}

fn render(source: &str) -> Result<String, Fault> {
    renderer().render(&Template::compile(source, ROOTS).unwrap())
}

fn gives(cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(*expected), "{source}");
    }
}

fn flaws(source: &str) -> Vec<String> {
    let flaws = Template::compile(source, ROOTS).unwrap_err();
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
fn values_are_printed_as_the_reference_prints_them() {
    gives(&[
        ("plain }} text", "plain }} text"),
        ("lz-{{ .subject.id }}", "lz-c-1"),
        (
            "{{ .subject.ready }} {{ .subject.share }} {{ .subject.large }}",
            "true 0.25 5.24288e+06",
        ),
        (
            "{{ .subject.spec.zones }} {{ .subject.spec.labels }}",
            "[a b] map[team:x tier:<nil>]",
        ),
        ("{{ $.subject.id }}{{ $x := .subject.spec }}{{ $x.zones }}", "c-1[a b]"),
        ("{{ 1 }}{{ \"x\" }}{{ true }}{{ 1.5 }}", "1xtrue1.5"),
    ]);
}

#[test]
fn whole_numbers_are_printed_whole() {
    gives(&[
        ("{{ .subject.generation }}", "1000000"),
        ("{{ printf \"%d\" .subject.generation }}", "1000000"),
    ]);
}

#[test]
fn blocks_work() {
    gives(&[
        ("{{ if .subject.ready }}yes{{ else }}no{{ end }}", "yes"),
        (
            "{{ if eq .subject.id \"x\" }}a{{ else if .subject.empty }}b{{ else }}c{{ end }}",
            "c",
        ),
        (
            "{{ range $i, $z := .subject.spec.zones }}{{ $i }}={{ $z }} {{ end }}",
            "0=a 1=b ",
        ),
        (
            "{{ range .subject.spec.zones }}{{ . }}{{ $.subject.id }}{{ else }}none{{ end }}",
            "ac-1bc-1",
        ),
        ("{{ with .subject.spec }}{{ index .zones 1 }}{{ end }}", "b"),
        (
            "{{ define \"z\" }}<{{ . }}>{{ end }}{{ template \"z\" .subject.id }}",
            "<c-1>",
        ),
        ("a {{- /* nothing */ -}} b {{- .subject.id }}", "abc-1"),
        ("{{ if and .subject.ready (gt .subject.generation 5) }}x{{ end }}", "x"),
    ]);
}

#[test]
fn functions_take_the_text_first() {
    gives(&[
        ("{{ .subject.name | lower }}", "jean's first cluster"),
        ("{{ upper .subject.id }}", "C-1"),
        ("{{ title .subject.name }}", "Jean's First Cluster"),
        ("{{ trim \"  x \" }}", "x"),
        (
            "{{ trimPrefix .subject.id \"c-\" }}{{ trimSuffix \"a.b\" \".b\" }}",
            "1a",
        ),
        ("{{ replace .subject.id \"-\" \"_\" }}", "c_1"),
        (
            "{{ contains .subject.id \"-\" }}{{ hasPrefix .subject.id \"c\" }}{{ hasSuffix .subject.id \"c\" }}",
            "truetruefalse",
        ),
        ("{{ quote \"a\\\"b\\n\" }}", "\"a\\\"b\\n\""),
        (
            "{{ int \"42\" }}{{ int \"3.7\" }}{{ int 3.9 }}{{ int64 \"99999999999999999999\" }}",
            "42039223372036854775807",
        ),
        ("{{ float \"1.5\" }}{{ float64 2 }}{{ string 12 | len }}", "1.522"),
        (
            "{{ toJson .subject.spec }}",
            "{\"labels\":{\"team\":\"x\",\"tier\":null},\"zones\":[\"a\",\"b\"]}",
        ),
        (
            "{{ now | date \"2006-01-02\" }} {{ dateFormat \"15:04\" .now }}",
            "2026-03-07 15:04",
        ),
        ("{{ now }}", "2026-03-07T15:04:05.000001Z"),
    ]);
}

#[test]
fn defaults_stand_in_for_what_is_missing_null_or_empty() {
    gives(&[
        ("{{ .subject.tier | default \"basic\" }}", "basic"),
        ("{{ .subject.nothing.x | default \"basic\" }}", "basic"),
        ("{{ default \"basic\" .subject.nothing }}", "basic"),
        ("{{ .subject.empty | default \"basic\" | upper }}", "BASIC"),
        ("{{ .subject.id | default \"basic\" }}", "c-1"),
    ]);
}

#[test]
fn what_is_missing_or_null_is_never_printed() {
    for (source, path) in [
        ("{{ .subject.spec.tier }}", "subject.spec.tier"),
        ("{{ .objects.job.metadata.name }}", "objects.job.metadata.name"),
        ("{{ .subject.nothing }}", "subject.nothing"),
        ("{{ .subject.nothing.x }}", "subject.nothing.x"),
        ("{{ with .subject.spec }}{{ .tier }}{{ end }}", ".tier"),
        ("{{ $s := .subject.spec }}{{ $s.tier.x }}", "$s.tier.x"),
        ("{{ if .subject.tier }}x{{ end }}", "subject.tier"),
        ("{{ lower .subject.tier }}", "subject.tier"),
    ] {
        assert_eq!(render(source), Err(Fault::missing(path)), "{source}");
    }
    assert!(matches!(
        render("{{ index .subject.spec.labels \"gone\" }}"),
        Err(Fault::Broken { .. })
    ));
}

#[test]
fn wrong_types_are_told() {
    assert_eq!(
        render("{{ .subject.id.x }}"),
        Err(Fault::broken("`subject.id.x`: a string has no field `x`"))
    );
    for source in [
        "{{ lower 1 }}",
        "{{ date \"2006\" .subject.id }}",
        "{{ len .subject.generation }}",
        "{{ lower }}",
    ] {
        assert!(matches!(render(source), Err(Fault::Broken { .. })), "{source}");
    }
}

#[test]
fn what_is_wrong_with_a_template_is_told_at_load() {
    for (source, expected) in [
        ("{{ if .subject.id }}x", "1:1: `if` is not closed | add `{{ end }}`"),
        (
            "a{{ end }}b",
            "1:2: `{{ end }}` without a block | remove it, or open a block before it",
        ),
        (
            "{{ .subjet.id }}",
            "1:4: unknown name `.subjet` | did you mean `.subject`?",
        ),
        (
            "line\n  {{ range .objects }}{{ .x }}{{ end }}{{ .spec.x }}",
            "2:43: unknown name `.spec` | known are `.subject`, `.objects`, `.now`",
        ),
        (
            "{{ lowr .subject.id }}",
            "1:4: unknown function `lowr` | did you mean `lower`?",
        ),
        (
            "{{ subject.id }}",
            "1:4: unknown function `subject` | did you mean `.subject`?",
        ),
        ("{{ template \"x\" }}", "1:4: no template is called `x`"),
        ("{{ .subject.id | }}", "1:20: empty command"),
        ("{{ \"x }}", "1:1: the action is not closed | close it with `}}`"),
        ("{{ }}", "1:6: empty command"),
    ] {
        assert_eq!(flaws(source), [expected], "{source}");
    }
}

#[test]
fn endless_templates_end() {
    assert!(render("{{ range 1000000 }}{{ end }}").is_err());
    assert!(render("{{ define \"x\" }}{{ template \"x\" }}{{ end }}{{ template \"x\" }}").is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(source in "(\\{\\{|\\}\\}|[a-z .\"'`|()$:=*/-]|if|end|else|range|\\.subject|\\n|é){0,24}") {
        if let Ok(template) = Template::compile(&source, ROOTS) {
            let _ = renderer().render(&template);
        }
    }
}

#[test]
fn a_template_tells_the_facts_that_it_reads() {
    let roots = &["adapter", "objects", "statuses", "subject"];
    for (source, paths) in [
        ("plain .subject", &[] as &[&str]),
        ("{{ .subject.id }}-{{ .adapter.name }}", &["adapter.name", "subject.id"]),
        (
            "{{ with .subject.spec }}{{ .objects }}{{ $.statuses.dns }}{{ end }}",
            &["statuses.dns", "subject.spec"],
        ),
        (
            "{{ range $name, $one := .objects }}{{ $one.kind }}{{ end }}",
            &["objects"],
        ),
        (
            "{{ if eq (index .statuses \"dns\").available true }}x{{ end }}",
            &["statuses"],
        ),
        ("{{ .subject.spec.a }}{{ .subject.spec }}", &["subject.spec"]),
        ("{{ now }}", &["now"]),
        (
            "{{ define \"x\" }}{{ date \"2006\" now }}{{ end }}{{ template \"x\" .subject }}",
            &["now", "subject"],
        ),
        ("{{ toJson . }}", roots),
        ("{{ index $ \"subject\" }}", roots),
        (
            "{{ define \"x\" }}{{ .id }}{{ end }}{{ template \"x\" .subject }}",
            &["subject"],
        ),
        (
            "{{ define \"x\" }}{{ .subject.id }}{{ end }}{{ template \"x\" . }}",
            roots,
        ),
    ] {
        let (mut reads, mut expected) = (Reads::default(), Reads::default());
        Template::compile(source, roots).unwrap().find_reads(roots, &mut reads);
        paths.iter().for_each(|path| expected.add(path.split('.')));
        assert_eq!(reads, expected, "{source}");
    }
}

#[test]
fn fields_between_texts_are_rendered_without_the_evaluator() {
    let renders = |source| {
        let template = Template::compile(source, ROOTS).unwrap();
        template.render_fields(&facts()).is_some()
    };
    for source in [
        "",
        "text",
        "{{ .subject.id }}",
        "a{{- .subject.spec.zones -}} b {{/* c */}}",
    ] {
        assert!(renders(source), "{source}");
    }
    for source in [
        "{{ $.now }}",
        "{{ .subject.id | upper }}",
        "{{ $x := .now }}",
        "{{ if .now }}x{{ end }}",
        "{{ 1 }}",
    ] {
        assert!(!renders(source), "{source}");
    }
}

proptest! {
    #[test]
    fn fields_between_texts_give_what_the_evaluator_gives(
        parts in prop::collection::vec((prop_oneof![
            Just("{{ .now }}"), Just("{{.subject}}"), Just("{{- .subject.id }}"), Just("{{ .subject.nothing }}"),
            Just("{{ .subject.generation -}}"), Just("{{ .subject.share }}"), Just("{{ .subject.large }}"),
            Just("{{ .subject.ready.x }}"), Just("{{ .subject.nothing.x }}"), Just("{{ .subject.missing.x }}"),
            Just("{{ .subject.spec.zones }}"), Just("{{ .subject.spec.zones.x }}"), Just("{{ .subject.spec.labels }}"),
            Just("{{ .objects }}"), Just("{{ .objects.x }}"), Just("{{/* c */}}"), Just(""),
        ], "[ a}\n]{0,3}"), 0..4),
    ) {
        let source: String = parts.iter().flat_map(|(action, text)| [*action, text]).collect();
        let template = Template::compile(&source, ROOTS).unwrap();
        prop_assert_eq!(template.render_fields(&facts()), Some(renderer().render(&template)));
    }
}
