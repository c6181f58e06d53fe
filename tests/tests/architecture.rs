//! The architecture's arrows hold: rooms do not know each other, the engine is pure, one crate names wasmtime.

use std::path::Path;

#[test]
fn every_arrow_points_where_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();

    assert_eq!(xtask::arrows::violations(root).unwrap(), Vec::<String>::new());
}
