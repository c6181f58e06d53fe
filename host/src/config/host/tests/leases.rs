//! By which Leases hosts share work.

use super::*;

const BASE: &str = "fleet: {url: 'https://f.example.com'}\nadapters: a\n";

fn read(file: &str, variables: &[(&str, &str)]) -> Result<Option<Leases>, String> {
    let variables: Vec<(String, String)> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let text = format!("{BASE}{file}");
    let written = Written {
        file: Some((Path::new("/etc/berth/berth.yaml"), &text)),
        variables: &variables,
        ..Written::default()
    };
    load(&written)
        .map(|(settings, _)| settings.leases)
        .map_err(|problems| problems.to_string())
}

#[test]
fn without_a_namespace_a_host_shares_nothing() {
    assert_eq!(read("", &[("HOSTNAME", "berth-7")]).unwrap(), None);
}

#[test]
fn a_host_is_called_as_its_pod_unless_it_is_told_another_name() {
    let pod = ("HOSTNAME", "berth-7");
    let leases = read("leases: {namespace: berth}\n", &[pod]).unwrap().unwrap();
    assert_eq!(
        (leases.namespace.as_str(), leases.group.as_str(), leases.host.as_str()),
        ("berth", "berth", "berth-7")
    );
    let named = read("leases: {namespace: berth, group: east, host: first}\n", &[pod]);
    let named = named.unwrap().unwrap();
    assert_eq!((named.group.as_str(), named.host.as_str()), ("east", "first"));
}

#[test]
fn a_host_without_a_name_and_names_that_no_lease_can_have_are_told() {
    let nameless = read("leases: {namespace: berth}\n", &[]).unwrap_err();
    assert!(nameless.contains("leases.host"), "{nameless}");
    let wrong = read("leases: {namespace: Berth_1, group: '-', host: first}\n", &[]).unwrap_err();
    assert!(
        wrong.contains("berth.yaml:3:21: leases.namespace") && wrong.contains("`Berth_1` is not a name"),
        "{wrong}"
    );
    assert!(wrong.contains("leases.group"), "{wrong}");
}
