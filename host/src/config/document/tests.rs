#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use berth_engine::adapter::{DECLARATIVE, During};

use super::*;

const GOOD: &str = r#"apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: landing-zone}
spec:
  subjects: [Cluster]
  dependsOn: [{adapter: validation}]
  namespace: hyperfleet-adapters
  serviceAccount: landing-zone
  permits:
    - {apiVersion: batch/v1, kind: Job}
    - {apiVersion: v1, kind: Namespace, name: "lz-{{ .subject.id }}"}
  plugins:
    lz:
      source: oci://registry.example.com/partners/landing-zone:1.4.0
      config: {quota: 3}
      limits: {fuel: 50M, memory: 32MiB, deadline: 250ms}
      grants: {cluster: [{apiVersion: v1, kind: ConfigMap, namespace: hyperfleet-adapters}]}
  preconditions:
    - {name: quota, plugin: lz}
    - {name: provider, expression: 'subject.spec.provider == "gcp"', otherwise: NotApplicable, message: only GCP clusters}
    - {name: ready, expression: 'subject.ready', recheckAfter: 30s}
  resources:
    - {plugin: lz, during: Both, onUpdate: WaitForCompletion}
    - name: validate
      manifest: {apiVersion: batch/v1, kind: Job, metadata: {name: "lz-{{ .subject.id }}", labels: {app.kubernetes.io/name: lz}}, spec: {backoffLimit: 2}}
      onUpdate: Replace
    - name: destroy
      manifest: {apiVersion: batch/v1, kind: Job, metadata: {name: "rm-{{ .subject.id }}"}}
      during: Deletion
      when: subject.deleting
      after: [validate]
  postconditions:
    - name: validated
      expression: 'objects.validate.status.succeeded > 0'
      failed: {expression: 'objects.validate.status.failed > 0', reason: ValidationFailed, message: "{{ .objects.validate.termination }}"}
    - {plugin: lz}
  status:
    conditions: [{type: NetworkReady, expression: 'true', reason: 'Ok', message: 'fine'}]
    data: {jobName: "{{ .objects.validate.metadata.name }}"}
    plugin: lz
  cleanup: {when: Succeeded, after: 10m}
  grace: 2m
"#;

fn load(text: &str) -> Loading {
    let mut loading = parse(Path::new("docs/a.yaml"), text, &Limits::default());
    between::check(&mut loading);
    loading
}

/// The problems of a document with this `spec`, to which what is always needed is added.
fn spec(text: &str) -> String {
    let mut document =
        "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {name: lz}\nspec:\n".to_owned();
    for (key, value) in [("subjects", "[Cluster]"), ("namespace", "adapters")] {
        if !text.contains(&format!("{key}:")) {
            document.push_str(&format!("  {key}: {value}\n"));
        }
    }
    for line in text.lines() {
        document.push_str(&format!("  {line}\n"));
    }
    problems(&document)
}

fn problems(text: &str) -> String {
    let loading = load(text);
    if loading.problems.is_empty() {
        "none".to_owned()
    } else {
        Problems(loading.problems).to_string()
    }
}

#[test]
fn a_good_document_means_what_it_says() {
    let loaded = load(GOOD).strict().unwrap().remove(0);
    insta::assert_snapshot!(serde_json::to_string_pretty(&loaded.adapter).unwrap(), @r#"
    {
      "name": "landing-zone",
      "subjects": [
        "Cluster"
      ],
      "events": {},
      "depends_on": [
        {
          "adapter": "validation",
          "of": "subject"
        }
      ],
      "namespace": "hyperfleet-adapters",
      "service_account": "landing-zone",
      "permits": [
        {
          "api_version": "batch/v1",
          "kind": "Job",
          "namespace": null,
          "name": null
        },
        {
          "api_version": "v1",
          "kind": "Namespace",
          "namespace": null,
          "name": "lz-{{ .subject.id }}"
        }
      ],
      "plugins": {
        "lz": {
          "source": {
            "oci": "registry.example.com/partners/landing-zone:1.4.0"
          },
          "pull_secrets": [],
          "config": {
            "quota": 3
          },
          "limits": {
            "fuel": 50000000,
            "memory": 33554432,
            "deadline": {
              "secs": 0,
              "nanos": 250000000
            },
            "host_time": {
              "secs": 5,
              "nanos": 0
            },
            "output": 1048576,
            "log_lines": 100
          },
          "grants": {
            "fleet": [],
            "cluster": [
              {
                "api_version": "v1",
                "kind": "ConfigMap",
                "namespace": "hyperfleet-adapters",
                "name": null
              }
            ],
            "http": [],
            "actions": [],
            "variables": []
          }
        },
        "declarative": {
          "source": "embedded",
          "pull_secrets": [],
          "config": {
            "postconditions": [
              {
                "expression": "objects.validate.status.succeeded > 0",
                "failed": {
                  "expression": "objects.validate.status.failed > 0",
                  "message": "{{ .objects.validate.termination }}",
                  "reason": "ValidationFailed"
                },
                "name": "validated"
              }
            ],
            "preconditions": [
              {
                "expression": "subject.spec.provider == \"gcp\"",
                "message": "only GCP clusters",
                "name": "provider",
                "otherwise": "NotApplicable"
              },
              {
                "expression": "subject.ready",
                "name": "ready",
                "recheckAfterMs": 30000
              }
            ],
            "resources": [
              {
                "manifest": {
                  "apiVersion": "batch/v1",
                  "kind": "Job",
                  "metadata": {
                    "labels": {
                      "app.kubernetes.io/name": "lz"
                    },
                    "name": "lz-{{ .subject.id }}"
                  },
                  "spec": {
                    "backoffLimit": 2
                  }
                },
                "name": "validate"
              },
              {
                "after": [
                  "validate"
                ],
                "during": "Deletion",
                "manifest": {
                  "apiVersion": "batch/v1",
                  "kind": "Job",
                  "metadata": {
                    "name": "rm-{{ .subject.id }}"
                  }
                },
                "name": "destroy",
                "when": "subject.deleting"
              }
            ],
            "status": {
              "conditions": [
                {
                  "expression": "true",
                  "message": "fine",
                  "reason": "Ok",
                  "type": "NetworkReady"
                }
              ],
              "data": {
                "jobName": "{{ .objects.validate.metadata.name }}"
              }
            }
          },
          "limits": {
            "fuel": 50000000,
            "memory": 67108864,
            "deadline": {
              "secs": 0,
              "nanos": 250000000
            },
            "host_time": {
              "secs": 5,
              "nanos": 0
            },
            "output": 1048576,
            "log_lines": 100
          },
          "grants": {
            "fleet": [],
            "cluster": [],
            "http": [],
            "actions": [],
            "variables": []
          }
        }
      },
      "phases": {
        "preconditions": [
          {
            "plugin": "declarative",
            "during": "Life"
          },
          {
            "plugin": "lz",
            "during": "Life"
          }
        ],
        "resources": [
          {
            "plugin": "declarative",
            "during": "Both"
          },
          {
            "plugin": "lz",
            "during": "Both"
          }
        ],
        "postconditions": [
          {
            "plugin": "declarative",
            "during": "Life"
          },
          {
            "plugin": "lz",
            "during": "Life"
          }
        ],
        "status": [
          {
            "plugin": "declarative",
            "during": "Life"
          },
          {
            "plugin": "lz",
            "during": "Life"
          }
        ]
      },
      "resources": {
        "destroy": {
          "on_update": "Replace",
          "force": false,
          "during": "Deletion"
        },
        "lz": {
          "on_update": "WaitForCompletion",
          "force": false,
          "during": "Both"
        },
        "validate": {
          "on_update": "Replace",
          "force": false,
          "during": "Life"
        }
      },
      "cleanup": {
        "after": {
          "secs": 600,
          "nanos": 0
        }
      },
      "grace": {
        "secs": 120,
        "nanos": 0
      },
      "not_applicable": "NotAvailable"
    }
    "#);
}

#[test]
fn a_small_document_gets_every_default() {
    let loading = load(
        "apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {name: small}\nspec:\n  subjects: [Cluster]\n  namespace: adapters\n",
    );
    let adapter = loading.strict().unwrap().remove(0).adapter;
    insta::assert_snapshot!(serde_json::to_string(&adapter).unwrap(), @r#"{"name":"small","subjects":["Cluster"],"events":{},"depends_on":[],"namespace":"adapters","service_account":"default","permits":[{"api_version":"*","kind":"*","namespace":null,"name":null}],"plugins":{},"phases":{"preconditions":[],"resources":[],"postconditions":[],"status":[]},"resources":{},"cleanup":null,"grace":{"secs":120,"nanos":0},"not_applicable":"NotAvailable"}"#);
}

#[test]
fn a_problem_of_the_embedded_plugin_is_found_in_the_document() {
    let origin = load(GOOD).strict().unwrap().remove(0).origin;
    let mut told = String::new();
    for path in [
        "preconditions[0].expression",
        "preconditions[1].recheckAfterMs",
        "resources[0].manifest.metadata.name",
        "resources[0].manifest.metadata.labels.app.kubernetes.io/name",
        "resources[0].manifest.metadata.labels[\"app.kubernetes.io/name\"]",
        "resources[1].when",
        "postconditions[0].failed.expression",
        "status.conditions[0].reason",
        "status.data.jobName",
        "status.data.nothing.there",
        "preconditions[7].expression",
        "",
    ] {
        told.push_str(&format!("{path} -> {}\n", origin.problem(DECLARATIVE, path, "bad")));
    }
    told.push_str(&format!("quota of lz -> {}\n", origin.problem("lz", "quota", "bad")));
    insta::assert_snapshot!(told, @r#"
    preconditions[0].expression -> docs/a.yaml:20:36: spec.preconditions[1].expression: bad
    preconditions[1].recheckAfterMs -> docs/a.yaml:21:64: spec.preconditions[2].recheckAfter: bad
    resources[0].manifest.metadata.name -> docs/a.yaml:25:68: spec.resources[1].manifest.metadata.name: bad
    resources[0].manifest.metadata.labels.app.kubernetes.io/name -> docs/a.yaml:25:125: spec.resources[1].manifest.metadata.labels.app.kubernetes.io/name: bad
    resources[0].manifest.metadata.labels["app.kubernetes.io/name"] -> docs/a.yaml:25:125: spec.resources[1].manifest.metadata.labels["app.kubernetes.io/name"]: bad
    resources[1].when -> docs/a.yaml:30:13: spec.resources[2].when: bad
    postconditions[0].failed.expression -> docs/a.yaml:35:28: spec.postconditions[0].failed.expression: bad
    status.conditions[0].reason -> docs/a.yaml:38:67: spec.status.conditions[0].reason: bad
    status.data.jobName -> docs/a.yaml:39:21: spec.status.data.jobName: bad
    status.data.nothing.there -> docs/a.yaml:39:11: spec.status.data.nothing.there: bad
    preconditions[7].expression -> docs/a.yaml:19:5: spec.preconditions[7].expression: bad
     -> docs/a.yaml:5:3: spec: bad
    quota of lz -> docs/a.yaml:15:23: spec.plugins.lz.config.quota: bad
    "#);
}

#[test]
fn the_embedded_plugin_is_asked_first_and_for_both_lives() {
    let adapter = load(GOOD).strict().unwrap().remove(0).adapter;
    let steps: Vec<(&str, During)> = adapter
        .steps(berth_engine::contract::Phase::Resources)
        .iter()
        .map(|step| (step.plugin.as_str(), step.during))
        .collect();
    assert_eq!(steps, [(DECLARATIVE, During::Both), ("lz", During::Both)]);
}

#[test]
fn unknown_keys_are_told_with_what_may_be_meant() {
    insta::assert_snapshot!(spec("precondition: []\nhealth: {}\nresources:\n  - {name: a, manifst: {}}"), @"
    docs/a.yaml:7:3: spec.precondition: unknown key
      hint: did you mean `preconditions`?
    docs/a.yaml:8:3: spec.health: unknown key
      hint: known here: `subjects`, `events`, `dependsOn`, `namespace`, `serviceAccount`, `permits`, `plugins`, `preconditions`, `resources`, `postconditions`, `status`, `cleanup`, `grace`, `notApplicable`
    docs/a.yaml:10:7: spec.resources[0]: needs `manifest` or `plugin`
    docs/a.yaml:10:17: spec.resources[0].manifst: unknown key
      hint: did you mean `manifest`?
    ");
}

#[test]
fn all_problems_are_told_at_once() {
    insta::assert_snapshot!(spec("subjects: Cluster\nnamespace: Bad_Name\ngrace: 10\ncleanup: {when: Always}\nnotApplicable: Unavailable"), @r"
    docs/a.yaml:5:13: spec.subjects: expected a list, found a text
    docs/a.yaml:6:14: spec.namespace: `Bad_Name` is not a usable name
      hint: use lower-case letters, digits and `-`, at most 63, beginning and ending with a letter or digit
    docs/a.yaml:7:10: spec.grace: `10` is not a duration: it has no unit
      hint: write a number with a unit: `250ms`, `10s`, `2m`, `1h30m` or `7d`
    docs/a.yaml:8:19: spec.cleanup.when: `Always` is none of `Succeeded`
    docs/a.yaml:9:18: spec.notApplicable: `Unavailable` is none of `NotAvailable`, `Available`
      hint: did you mean `Available`?
    ");
}

#[test]
fn wrong_types_are_told() {
    insta::assert_snapshot!(spec("subjects: []\nserviceAccount: 7\ndependsOn: {adapter: a}\nplugins: []\nresources: text\nstatus: 1"), @r#"
    docs/a.yaml:6:13: spec.subjects: names no kind
      hint: write `[Cluster]`, `[NodePool]` or both
    docs/a.yaml:7:19: spec.serviceAccount: expected a text, found a number
      hint: put it into quotes: `"7"`
    docs/a.yaml:8:14: spec.dependsOn: expected a list, found a mapping
      hint: begin each item with `- `
    docs/a.yaml:9:12: spec.plugins: expected a mapping, found a list
    docs/a.yaml:10:14: spec.resources: expected a list, found a text
    docs/a.yaml:11:11: spec.status: expected a mapping, found a number
    "#);
}

#[test]
fn values_must_be_given() {
    insta::assert_snapshot!(problems("apiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {}\nspec:\n"), @r"
    docs/a.yaml:3:11: metadata: `name` is missing
    docs/a.yaml:4:5: spec: expected a mapping, found nothing
    ");
    insta::assert_snapshot!(problems("apiVersion: berth.hyperfleet.io/v1\nkind: adapter\nmetadata: {name: a}\nspec: {}\n"), @r"
    docs/a.yaml:1:13: apiVersion: `berth.hyperfleet.io/v1` is none of `berth.hyperfleet.io/v1alpha1`
      hint: did you mean `berth.hyperfleet.io/v1alpha1`?
    docs/a.yaml:2:7: kind: `adapter` is none of `Adapter`
      hint: did you mean `Adapter`?
    docs/a.yaml:4:7: spec: `subjects` is missing
    docs/a.yaml:4:7: spec: `namespace` is missing
    ");
    insta::assert_snapshot!(problems("{}"), @r"
    docs/a.yaml:1:1: `apiVersion` is missing
    docs/a.yaml:1:1: `kind` is missing
    docs/a.yaml:1:1: `metadata` is missing
    docs/a.yaml:1:1: `spec` is missing
    ");
    insta::assert_snapshot!(problems("just text"), @"docs/a.yaml:1:1: expected a mapping, found a text");
    insta::assert_snapshot!(problems("\n# nothing\n"), @"docs/a.yaml: contains no document");
}

#[test]
fn what_is_not_yaml_says_where() {
    insta::assert_snapshot!(problems("spec:\n  subjects: [Cluster\n  namespace: a\n"), @"docs/a.yaml:3:12: not YAML: illegal placement of ':' indicator");
    insta::assert_snapshot!(problems("spec:\n\tsubjects: [Cluster]\n"), @"docs/a.yaml:2:2: not YAML: tabs disallowed within this context (block indentation)");
    insta::assert_snapshot!(problems("a: *nobody\n"), @"docs/a.yaml:1:4: not YAML: alias references unknown anchor");
}

#[test]
fn a_key_given_twice_is_refused_anywhere() {
    insta::assert_snapshot!(
        spec("grace: 1m\ngrace: 2m\nresources:\n  - {name: a, manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: '1', x: '2'}}}"),
        @r"
    docs/a.yaml:8:3: spec.grace: the key is given twice, first in line 7
    docs/a.yaml:10:97: spec.resources[0].manifest.data.x: the key is given twice, first in line 10
    "
    );
}

#[test]
fn an_unquoted_template_gets_a_hint() {
    insta::assert_snapshot!(
        spec("resources:\n  - name: a\n    manifest:\n      apiVersion: v1\n      kind: ConfigMap\n      metadata:\n        name: {{ .subject.id }}"),
        @r"
    docs/a.yaml:13:18: not YAML: expected string scalar
      hint: a value that begins with `{{` must be put into quotes
    "
    );
}

#[test]
fn steps_need_a_name_and_something_to_do() {
    insta::assert_snapshot!(
        spec("preconditions:\n  - {expression: 'true'}\n  - {name: a}\n  - {name: a, expression: 'true'}\n  - {name: b c, expression: ''}\nresources:\n  - {name: r}\npostconditions:\n  - {name: p, expression: 'true', failed: {reason: lower}}\n  - {name: q, expression: 'true', failed: {expression: 'true'}}"),
        @r"
    docs/a.yaml:8:7: spec.preconditions[0]: `name` is missing
    docs/a.yaml:9:7: spec.preconditions[1]: needs `expression` or `plugin`
    docs/a.yaml:10:14: spec.preconditions[2].name: two steps are named `a`
    docs/a.yaml:11:14: spec.preconditions[3].name: `b c` is not a usable name
      hint: use letters, digits, `-` and `_`, at most 63, beginning with a letter
    docs/a.yaml:11:31: spec.preconditions[3].expression: must not be empty
    docs/a.yaml:13:7: spec.resources[0]: needs `manifest` or `plugin`
    docs/a.yaml:15:45: spec.postconditions[0].failed: `expression` is missing
    docs/a.yaml:15:54: spec.postconditions[0].failed.reason: `lower` is not a usable name
      hint: use letters and digits, beginning with a capital: `NodePool`
    docs/a.yaml:16:45: spec.postconditions[1].failed: `reason` is missing
    "
    );
}

#[test]
fn a_plugin_must_be_declared_and_used() {
    insta::assert_snapshot!(
        spec("plugins:\n  lz: {source: 'file:lz.wasm'}\npreconditions:\n  - {plugin: lx}\n  - {plugin: other}"),
        @r"
    docs/a.yaml:8:9: spec.plugins.lz: no phase asks this plugin
      hint: add `{plugin: lz}` to a phase, or remove it
    docs/a.yaml:10:16: spec.preconditions[0].plugin: there is no plugin `lx`
      hint: did you mean `lz`?
    docs/a.yaml:11:16: spec.preconditions[1].plugin: there is no plugin `other`
      hint: declare it under `spec.plugins`
    "
    );
}

#[test]
fn a_step_is_a_plugin_or_written_out() {
    insta::assert_snapshot!(
        spec("plugins:\n  lz: {source: 'file:lz.wasm'}\npreconditions:\n  - {plugin: lz, expression: 'true'}\nresources:\n  - {plugin: lz, manifest: {}, force: true}"),
        @r"
    docs/a.yaml:10:32: spec.preconditions[0].expression: `expression` cannot be given together with `plugin`
      hint: a step is either a plugin or written here
    docs/a.yaml:12:30: spec.resources[0].manifest: `manifest` cannot be given together with `plugin`
      hint: a step is either a plugin or written here
    "
    );
}

#[test]
fn manifests_need_their_frame() {
    insta::assert_snapshot!(
        spec("resources:\n  - {name: a, manifest: {kind: Job, metadata: {generateName: x}, status: {}}}\n  - {name: b, manifest: {apiVersion: v1, kind: 7, metadata: {name: b, ownerReferences: []}}}\n  - {name: c, manifest: []}\n  - {name: d, manifest: '{{ template }}'}"),
        @r#"
    docs/a.yaml:8:27: spec.resources[0].manifest: `apiVersion` is missing
    docs/a.yaml:8:49: spec.resources[0].manifest.metadata: `name` is missing
      hint: generateName is not possible: objects must be found again
    docs/a.yaml:8:64: spec.resources[0].manifest.metadata.generateName: `generateName` may not be set
      hint: berth tracks its objects by labels
    docs/a.yaml:8:76: spec.resources[0].manifest.status: a manifest may not set `status`
    docs/a.yaml:9:50: spec.resources[1].manifest.kind: expected a text, found a number
      hint: put it into quotes: `"7"`
    docs/a.yaml:9:90: spec.resources[1].manifest.metadata.ownerReferences: `ownerReferences` may not be set
      hint: berth tracks its objects by labels
    docs/a.yaml:10:27: spec.resources[2].manifest: expected a mapping, found a list
    "#
    );
}

#[test]
fn resources_may_not_wait_for_each_other_or_for_nobody() {
    let manifest = "manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}";
    insta::assert_snapshot!(
        spec(&format!("resources:\n  - {{name: one, {manifest}, after: [two]}}\n  - {{name: two, {manifest}, after: [one]}}\n  - {{name: three, {manifest}, after: [tow]}}")),
        @r"
    docs/a.yaml:8:7: spec.resources[0]: resources wait for each other: one -> two -> one
    docs/a.yaml:10:95: spec.resources[2].after[0]: there is no resource `tow`
      hint: did you mean `two`?
    "
    );
}

#[test]
fn choices_are_told() {
    insta::assert_snapshot!(
        spec("dependsOn: [{adapter: v, of: parent}]\npreconditions:\n  - {name: a, expression: 'true', otherwise: notapplicable}\nresources:\n  - {name: r, onUpdate: Recreate, force: 'yes', during: Deleting, manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: r}}}"),
        @r"
    docs/a.yaml:7:32: spec.dependsOn[0].of: `parent` is none of `subject`, `owner`
    docs/a.yaml:9:48: spec.preconditions[0].otherwise: `notapplicable` is none of `Wait`, `NotApplicable`
      hint: did you mean `NotApplicable`?
    docs/a.yaml:11:27: spec.resources[0].onUpdate: `Recreate` is none of `Replace`, `WaitForCompletion`
    docs/a.yaml:11:44: spec.resources[0].force: expected a boolean, found a text
      hint: write `true` or `false`
    docs/a.yaml:11:59: spec.resources[0].during: `Deleting` is none of `Life`, `Deletion`, `Both`
      hint: did you mean `Deletion`?
    "
    );
}

#[test]
fn sources_are_checked() {
    let sources = [
        "lz.wasm",
        "https://x/y",
        "oci://lz",
        "oci://registry/lz:1",
        "oci://r.io/lz",
        "oci://r.io/LZ:1",
        "oci://r.io/lz@sha256:12",
        "oci://r.io/lz@md5:12",
        "oci://r.io/lz:",
        "file:",
        "file:../lz.wasm",
        "file:a/../../lz.wasm",
    ];
    let mut text = "plugins:\n".to_owned();
    for (index, source) in sources.iter().enumerate() {
        text.push_str(&format!("  p{index}: {{source: \"{source}\"}}\n"));
    }
    text.push_str("preconditions:\n");
    for index in 0..sources.len() {
        text.push_str(&format!("  - {{plugin: p{index}}}\n"));
    }
    insta::assert_snapshot!(spec(&text), @r"
    docs/a.yaml:8:18: spec.plugins.p0.source: `lz.wasm` is not a source
      hint: write `oci://registry/repository:tag`, `oci://registry/repository@sha256:…` or `file:path`
    docs/a.yaml:9:18: spec.plugins.p1.source: `https://x/y` is not a source
      hint: write `oci://registry/repository:tag`, `oci://registry/repository@sha256:…` or `file:path`
    docs/a.yaml:10:18: spec.plugins.p2.source: `lz` names no repository
      hint: write `oci://registry.example.com/repository:1.0.0`
    docs/a.yaml:11:18: spec.plugins.p3.source: `registry` is not a registry's host
      hint: write `oci://registry.example.com/repository:1.0.0`
    docs/a.yaml:12:18: spec.plugins.p4.source: `r.io/lz` has neither a tag nor a digest
      hint: a version must be named: append `:1.0.0` or `@sha256:…`
    docs/a.yaml:13:18: spec.plugins.p5.source: `LZ` is not a repository
      hint: use lower-case letters, digits, `.`, `_`, `-` and `/`
    docs/a.yaml:14:18: spec.plugins.p6.source: `12` is not a sha256 digest
      hint: write 64 hexadecimal digits
    docs/a.yaml:15:18: spec.plugins.p7.source: `r.io/lz@md5:12` has a digest that is not sha256
      hint: write `…@sha256:` and 64 hexadecimal digits
    docs/a.yaml:16:18: spec.plugins.p8.source: `` is not a tag
      hint: write `oci://registry.example.com/repository:1.0.0`
    docs/a.yaml:17:18: spec.plugins.p9.source: names no file
      hint: write `file:plugin.wasm`, relative to this document
    docs/a.yaml:18:19: spec.plugins.p10.source: `../lz.wasm` leaves the document's folder
      hint: write an absolute path, or put the file beside the document
    docs/a.yaml:19:19: spec.plugins.p11.source: `a/../../lz.wasm` leaves the document's folder
      hint: write an absolute path, or put the file beside the document
    ");
}

#[test]
fn a_file_is_found_beside_its_document_or_where_it_says() {
    let source = |written: &str| {
        let text = GOOD.replace(
            "oci://registry.example.com/partners/landing-zone:1.4.0",
            &format!("'{written}'"),
        );
        load(&text).strict().unwrap().remove(0).adapter.plugins["lz"]
            .source
            .clone()
    };
    let file = |path: &str| berth_engine::adapter::Source::File(path.into());
    assert_eq!(source("file:a/../lz.wasm"), file("docs/lz.wasm"));
    assert_eq!(source("file:///srv/lz.wasm"), file("/srv/lz.wasm"));
}

#[test]
fn limits_have_units_and_caps() {
    insta::assert_snapshot!(
        spec("plugins:\n  lz:\n    source: file:lz.wasm\n    limits: {fuel: lots, memory: 32, deadline: 1h, hostTime: 0s, output: 1TiB, logLines: 1M, cpu: 1}\npreconditions: [{plugin: lz}]"),
        @r"
    docs/a.yaml:10:22: spec.plugins.lz.limits.fuel: `lots` is not a count: it needs a whole number
      hint: write a whole number, with `k`, `M` or `G` for thousands, millions or billions: `50M`
    docs/a.yaml:10:36: spec.plugins.lz.limits.memory: `32` is not a size: it has no unit
      hint: write a whole number with a unit: `64KiB`, `32MiB` or `1GiB`
    docs/a.yaml:10:50: spec.plugins.lz.limits.deadline: is more than this host allows, 250ms
      hint: ask for less, or have `limits.plugins` raised in the host's configuration
    docs/a.yaml:10:64: spec.plugins.lz.limits.hostTime: must be more than zero
    docs/a.yaml:10:76: spec.plugins.lz.limits.output: `1TiB` is not a size: `TiB` is not a unit
      hint: write a whole number with a unit: `64KiB`, `32MiB` or `1GiB`
    docs/a.yaml:10:92: spec.plugins.lz.limits.logLines: is more than this host allows, 100
      hint: ask for less, or have `limits.plugins` raised in the host's configuration
    docs/a.yaml:10:96: spec.plugins.lz.limits.cpu: unknown key
      hint: known here: `fuel`, `memory`, `deadline`, `hostTime`, `output`, `logLines`
    "
    );
}

#[test]
fn grants_are_checked() {
    insta::assert_snapshot!(
        spec(
            "plugins:
  lz:
    source: file:lz.wasm
    grants:
      fleet:
        - {path: clusters}
        - {path: '/api/**/clusters'}
        - {path: '/api/{{ .subject.name }}'}
        - {path: '/api/{{ .subject.id'}
        - {path: '/a/../b', methods: [DELETE]}
      cluster: [{apiVersion: core, kind: Secret}, {apiVersion: v1, kind: pods, name: '{{ .subject.id }}'}]
      http: [{host: 'https://x.io'}, {host: '*.x.io'}, {host: 'x.io:99999'}]
      actions: [{methods: [GET], url: /a}, {url: 'ftp://x/y'}, {methods: [POST], url: 'https://*/y'}]
      variables: [BERTH_FLEET_TOKEN_FILE, '1A']
preconditions: [{plugin: lz}]"
        ),
        @r"
    docs/a.yaml:12:20: spec.plugins.lz.grants.fleet[0].path: `clusters` is not a path: it must begin with `/`
    docs/a.yaml:13:20: spec.plugins.lz.grants.fleet[1].path: `/api/**/clusters` has `**` before its end
    docs/a.yaml:14:20: spec.plugins.lz.grants.fleet[2].path: unknown placeholder `{{ .subject.name }}`
      hint: did you mean `{{ .subject.id }}`?
    docs/a.yaml:15:20: spec.plugins.lz.grants.fleet[3].path: a placeholder is not closed with `}}`
    docs/a.yaml:16:20: spec.plugins.lz.grants.fleet[4].path: `/a/../b` has the segment `..`
    docs/a.yaml:16:41: spec.plugins.lz.grants.fleet[4].methods[0]: `DELETE` is none of `GET`, `POST`
    docs/a.yaml:17:19: spec.plugins.lz.grants.cluster[0]: would show every Secret
      hint: name the one that is needed with `name`
    docs/a.yaml:17:32: spec.plugins.lz.grants.cluster[0].apiVersion: `core` is not a group and version
      hint: write it as in a manifest: `v1` or `batch/v1`
    docs/a.yaml:17:76: spec.plugins.lz.grants.cluster[1].kind: `pods` is not a usable name
      hint: use letters and digits, beginning with a capital: `NodePool`
    docs/a.yaml:17:88: spec.plugins.lz.grants.cluster[1].name: unknown placeholder `{{ .subject.id }}`
      hint: placeholders are not possible here
    docs/a.yaml:18:23: spec.plugins.lz.grants.http[0].host: `https://x.io` is not a host
      hint: write `host` or `host:port`, without scheme, path or `*`
    docs/a.yaml:18:47: spec.plugins.lz.grants.http[1].host: `*.x.io` is not a host
      hint: write `host` or `host:port`, without scheme, path or `*`
    docs/a.yaml:18:65: spec.plugins.lz.grants.http[2].host: `x.io:99999` is not a host
      hint: write `host` or `host:port`, without scheme, path or `*`
    docs/a.yaml:19:19: spec.plugins.lz.grants.actions[0]: allows no method
      hint: name some of POST, PUT, PATCH and DELETE
    docs/a.yaml:19:30: spec.plugins.lz.grants.actions[0].methods[0]: `GET` is none of `POST`, `PUT`, `PATCH`, `DELETE`
    docs/a.yaml:19:46: spec.plugins.lz.grants.actions[1]: `methods` is missing
    docs/a.yaml:19:52: spec.plugins.lz.grants.actions[1].url: `ftp://x/y` is neither a path nor an absolute URL
    docs/a.yaml:19:89: spec.plugins.lz.grants.actions[2].url: `https://*/y` has `*` or credentials in its host
    docs/a.yaml:20:21: spec.plugins.lz.grants.variables[0]: `BERTH_FLEET_TOKEN_FILE` configures the host and is not shown to plugins
    docs/a.yaml:20:45: spec.plugins.lz.grants.variables[1]: `1A` is not a usable name
      hint: use letters, digits and `_`, not beginning with a digit
    "
    );
}

#[test]
fn permits_are_checked() {
    insta::assert_snapshot!(
        spec("permits:\n  - {apiVersion: v1, kind: Namespace}\n  - {apiVersion: v1, kind: Job, name: 'lz-{{ .subject.href }}'}\n  - {apiVersion: v1, kind: Job, namespace: 'a-{{ .subject.kind }}'}\n  - {apiVersion: v1, kind: Job, namespace: 'a-{{ .subject.id }}'}\n  - {apiVersion: v1, kind: Job, namespace: Bad}\n  - {kind: job}\n  - {apiVersion: batch, kind: Job, name: Upper}"),
        @r#"
    docs/a.yaml:5:3: spec: `namespace` is missing
    docs/a.yaml:7:7: spec.permits[0]: `Namespace` is cluster-scoped: `name` is needed
      hint: name it with a placeholder: `name: "lz-{{ .subject.id }}"`
    docs/a.yaml:8:41: spec.permits[1].name: unknown placeholder `{{ .subject.href }}`
      hint: did you mean `{{ .subject.id }}`?
    docs/a.yaml:9:46: spec.permits[2].namespace: unknown placeholder `{{ .subject.kind }}`
      hint: did you mean `{{ .subject.id }}`?
    docs/a.yaml:11:46: spec.permits[4].namespace: `Bad` is not a namespace: use lower-case letters, digits and `-`, or `*` for any
    docs/a.yaml:12:7: spec.permits[5]: `apiVersion` is missing
    docs/a.yaml:12:14: spec.permits[5].kind: `job` is not a usable name
      hint: use letters and digits, beginning with a capital: `NodePool`
    docs/a.yaml:13:20: spec.permits[6].apiVersion: `batch` is not a group and version
      hint: write it as in a manifest: `v1` or `batch/v1`
    docs/a.yaml:13:44: spec.permits[6].name: `Upper` is not an object's name: use lower-case letters, digits, `-`, `.` and `:`
    "#
    );
    insta::assert_snapshot!(spec("permits: []"), @r"
    docs/a.yaml:7:12: spec.permits: permits nothing
      hint: leave `permits` out for namespaced kinds in the adapter's namespace, or list kinds
    ");
}

#[test]
fn conditions_are_unique_and_finalized_is_not_theirs() {
    insta::assert_snapshot!(
        spec("status:\n  conditions:\n    - {type: Ready, expression: 'true'}\n    - {type: Ready, expression: 'true'}\n    - {type: Finalized, expression: 'true'}\n    - {type: lower}\n  data: []\n  plugin: x"),
        @r"
    docs/a.yaml:10:16: spec.status.conditions[1].type: the condition `Ready` is given twice
    docs/a.yaml:11:16: spec.status.conditions[2].type: `Finalized` is set by berth alone, when all objects are gone
    docs/a.yaml:12:9: spec.status.conditions[3]: `expression` is missing
    docs/a.yaml:12:16: spec.status.conditions[3].type: `lower` is not a usable name
      hint: use letters and digits, beginning with a capital: `NodePool`
    docs/a.yaml:13:11: spec.status.data: expected a mapping, found a list
    docs/a.yaml:14:13: spec.status.plugin: there is no plugin `x`
      hint: declare it under `spec.plugins`
    "
    );
}

#[test]
fn the_embedded_plugins_name_is_taken() {
    insta::assert_snapshot!(spec("plugins:\n  declarative: {source: 'file:x.wasm'}\n  1x: {source: 'file:x.wasm'}"), @r"
    docs/a.yaml:8:18: spec.plugins.declarative: `declarative` is the name of what berth itself contains
      hint: choose another name
    docs/a.yaml:9:9: spec.plugins.1x: `1x` is not a usable name
      hint: use letters, digits, `-` and `_`, beginning with a letter
    docs/a.yaml:9:9: spec.plugins.1x: no phase asks this plugin
      hint: add `{plugin: 1x}` to a phase, or remove it
    ");
}

fn small(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: berth.hyperfleet.io/v1alpha1\nkind: Adapter\nmetadata: {{name: {name}}}\nspec: {{subjects: [Cluster], namespace: a, {rest}}}\n"
    )
}

#[test]
fn two_documents_of_one_name_are_both_refused() {
    let text = small("one", "grace: 1m") + &small("two", "grace: 1m") + &small("one", "grace: 2m");
    insta::assert_snapshot!(problems(&text), @r"
    docs/a.yaml:4:18: metadata.name: another document is named `one` too: docs/a.yaml:14:18
      hint: an adapter's name is its identity in HyperFleet: rename or remove one
    docs/a.yaml:14:18: metadata.name: another document is named `one` too: docs/a.yaml:4:18
      hint: an adapter's name is its identity in HyperFleet: rename or remove one
    ");
    let names: Vec<String> = load(&text)
        .adapters
        .into_iter()
        .map(|loaded| loaded.adapter.name)
        .collect();
    assert_eq!(names, ["two"]);
}

#[test]
fn dependencies_in_a_circle_are_named() {
    let text = small("a", "dependsOn: [{adapter: b}]")
        + &small("b", "dependsOn: [{adapter: c}]")
        + &small("c", "dependsOn: [{adapter: a}]")
        + &small("d", "dependsOn: [{adapter: a}, {adapter: elsewhere}]")
        + &small("e", "dependsOn: [{adapter: e}]");
    insta::assert_snapshot!(problems(&text), @r"
    docs/a.yaml:5:54: spec.dependsOn: adapters wait for each other: a -> b -> c -> a
      hint: remove one of these dependencies
    docs/a.yaml:10:54: spec.dependsOn: adapters wait for each other: a -> b -> c -> a
      hint: remove one of these dependencies
    docs/a.yaml:15:54: spec.dependsOn: adapters wait for each other: a -> b -> c -> a
      hint: remove one of these dependencies
    docs/a.yaml:25:54: spec.dependsOn: adapters wait for each other: e -> e
      hint: remove one of these dependencies
    ");
}

#[test]
fn a_dependency_on_the_owner_is_no_circle() {
    let text = small("a", "dependsOn: [{adapter: b, of: owner}]") + &small("b", "dependsOn: [{adapter: a}]");
    assert_eq!(problems(&text), "none");
}

#[test]
fn a_folder_is_read_file_by_file_and_a_bad_one_harms_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), small("a", "grace: 1m")).unwrap();
    std::fs::write(folder.path().join("b.yml"), small("b", "grace: never")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a document").unwrap();
    let loading = load_folder(folder.path(), &Limits::default());
    assert_eq!(
        loading
            .adapters
            .iter()
            .map(|loaded| loaded.adapter.name.as_str())
            .collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(loading.problems.len(), 1);
    assert_eq!(loading.problems[0].adapter.as_deref(), Some("b"));
    assert_eq!(
        load_folder(&folder.path().join("absent"), &Limits::default())
            .problems
            .len(),
        1
    );
}

#[test]
fn brackets_without_end_are_refused() {
    let deep = format!("a: {}", "[".repeat(200_000));
    insta::assert_snapshot!(problems(&deep), @"docs/a.yaml:1:259: not YAML: it is nested too deeply, or too large");
    let closed = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    insta::assert_snapshot!(problems(&closed), @"docs/a.yaml:1:259: not YAML: it is nested too deeply, or too large");
}

#[test]
fn mappings_without_end_are_refused() {
    let nested = (0..2_000)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect::<String>();
    insta::assert_snapshot!(problems(&nested), @"docs/a.yaml:65:65: not YAML: it is nested too deeply, or too large");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    insta::assert_snapshot!(problems(&bomb), @"docs/a.yaml:5:25: not YAML: it is nested too deeply, or too large");
}

proptest::proptest! {
    #[test]
    fn a_damaged_document_never_makes_it_panic(at in 0..GOOD.len(), length in 0_usize..40, put in "[\\[\\]{}:,'\"&*|>a-z0-9 \n-]{0,6}") {
        let end = (at + length).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        let loading = load(&text);
        proptest::prop_assert!(!loading.problems.is_empty() || !loading.adapters.is_empty());
    }

    #[test]
    fn no_path_makes_the_way_back_panic(path in "[a-z0-9.\\[\\]\"]{0,30}") {
        let origin = load(GOOD).strict().unwrap().remove(0).origin;
        let problem = origin.problem(DECLARATIVE, &path, "bad");
        proptest::prop_assert!(problem.line > 0);
    }
}
