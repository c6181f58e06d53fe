//! The architecture's arrows hold: rooms do not know each other, the engine is pure, one crate names wasmtime.

use std::path::Path;

#[test]
fn every_arrow_points_where_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();

    assert_eq!(xtask::arrows::violations(root).unwrap(), Vec::<String>::new());
}

#[test]
fn every_test_that_the_table_of_invariants_names_exists_in_its_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();

    assert_eq!(xtask::invariants::violations(root).unwrap(), Vec::<String>::new());
}
