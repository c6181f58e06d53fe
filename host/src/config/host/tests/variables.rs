//! Every key is set by a variable of its own.

use super::{super::merge, *};

#[test]
fn every_key_is_set_by_its_variable_and_no_other_key_is() {
    let mut names = std::collections::BTreeSet::new();
    for key in KEYS {
        let name = key.variable();
        assert!(names.insert(name.clone()), "{name} sets two keys");
        let variables = [(name.clone(), "given".to_owned())];
        let values = merge::gather(&Written {
            variables: &variables,
            ..Written::default()
        });
        let problems: Vec<_> = values.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, [""; 0], "{name}");
        let set: Vec<_> = values
            .shown
            .iter()
            .filter(|shown| shown.origin != Origin::Default)
            .map(|shown| (shown.key, shown.value.as_deref(), shown.origin.clone()))
            .collect();
        assert_eq!(set, [(key.path, Some("given"), Origin::Variable(name))]);
    }
}
