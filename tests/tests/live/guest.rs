//! An adapter and its plugin, both of which say which version of them worked.

/// An adapter without plugins whose ConfigMap and data say which version of the document made them.
const DOCUMENT: &str = "
apiVersion: berth.hyperfleet.io/v1alpha1
kind: Adapter
metadata: {name: NAME}
spec:
  subjects: [Cluster]
  namespace: work
  serviceAccount: adapter
  permits: [{apiVersion: v1, kind: ConfigMap}]
  resources:
    - name: made
      manifest:
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: 'NAME-{{ .subject.id }}'}
        data: {version: 'VERSION'}
  status:
    data: {version: 'VERSION'}
";

/// A version of the document of `name`.
pub(crate) fn document(name: &str, version: &str) -> String {
    DOCUMENT.replace("NAME", name).replace("VERSION", version)
}

/// The same, with a plugin that is asked in three phases.
pub(crate) fn with_guest(name: &str, version: &str, source: &str) -> String {
    let plugins =
        format!("  plugins:\n    guest: {{source: '{source}', config: {{v: 1}}, limits: {{deadline: 60s}}}}\n");
    document(name, version)
        .replace(
            "  resources:\n",
            &format!("{plugins}  preconditions: [{{plugin: guest}}]\n  resources:\n"),
        )
        .replace("  status:\n", "    - {plugin: guest}\n  status:\n    plugin: guest\n")
}

/// A plugin for all phases. Its plan skips something for the reason `word`, and so says its status.
pub(crate) fn guest(word: &str) -> Vec<u8> {
    assert_eq!(word.len(), 6, "all words are of one length");
    let replacements = [
        ("\"notyet\"", format!("\"{word}\"")),
        // What `setup` prepares, and preconditions carry, is the word's beginning.
        ("\"too short\" \"ok\"", format!("\"too short\" \"{}\"", &word[..2])),
        // Only the second operation of the plan, and no further round.
        (
            "(i32.store (i32.const 20) (i32.const 2700))\n    (i32.store (i32.const 24) (i32.const 2))",
            "(i32.store (i32.const 20) (i32.const 2752))\n    (i32.store (i32.const 24) (i32.const 1))".to_owned(),
        ),
        (
            "(i32.store8 (i32.const 28) (i32.const 1))",
            "(i32.store8 (i32.const 28) (i32.const 0))".to_owned(),
        ),
        // The condition's message is the word.
        (
            "(i32.store (i32.const 2820) (i32.const 2094))\n    (i32.store (i32.const 2824) (i32.const 4))",
            "(i32.store (i32.const 2820) (i32.const 2055))\n    (i32.store (i32.const 2824) (i32.const 6))".to_owned(),
        ),
    ];
    berth_test_guests::changed("all-phases", |mut text| {
        for (from, to) in replacements {
            assert!(text.contains(from), "the guest has no `{from}`");
            text = text.replacen(from, &to, 1);
        }
        text
    })
}
