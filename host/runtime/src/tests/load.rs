//! What is accepted as a plugin, and what is not.

use super::*;

fn refusal(text: &str) -> LoadError {
    RUNTIME.load(&wat::parse_str(text).unwrap()).map(drop).unwrap_err()
}

#[test]
fn proposals_that_are_switched_off_are_refused() {
    let cases = [
        ("gc", "(type (struct (field i32))) (func (param (ref null 0)))"),
        ("exceptions", "(tag) (func (throw 0))"),
        (
            "function references",
            "(type (func)) (func (param (ref 0)) (call_ref 0 (local.get 0)))",
        ),
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1)"),
        (
            "relaxed SIMD",
            "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
        ),
    ];
    for (name, module) in cases {
        let error = refusal(&format!("(component (core module {module}))"));
        assert!(matches!(error, LoadError::Invalid(_)), "{name}: {error:?}");
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_its_cause() {
    assert!(matches!(RUNTIME.load(b"hello").unwrap_err(), LoadError::Invalid(_)));
    assert!(matches!(refusal("(module)"), LoadError::CoreModule));
    assert!(matches!(refusal("(component)"), LoadError::NoPhase { .. }));
    assert_eq!(
        refusal(r#"(component (import "wasi:http/types@0.3.0" (instance)))"#).to_string(),
        "the plugin imports `wasi:http/types@0.3.0`, which berth does not offer"
    );
    assert!(matches!(
        refusal(r#"(component (import "hyperfleet:adapter/secrets@0.1.0" (instance)))"#),
        LoadError::UnknownImport(_)
    ));
    assert!(matches!(
        refusal(r#"(component (import "hyperfleet:adapter/log@0.2.0" (instance)))"#),
        LoadError::UnknownImport(_)
    ));
    let wrong =
        r#"(component (import "hyperfleet:adapter/log@0.1.0" (instance (export "emit" (func (param "x" u8))))))"#;
    assert!(matches!(refusal(wrong), LoadError::Contract(_)));
}

#[tokio::test]
async fn a_phase_of_another_shape_is_unavailable() {
    let wrong = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $p (export "evaluate" (func $f)))
        (export "hyperfleet:adapter/preconditions@0.1.0" (instance $p)))"#;
    let plugin = RUNTIME.load(&wat::parse_str(wrong).unwrap()).unwrap();
    let error = plugin
        .call(&Question::Preconditions { facts: facts().into() }, &context())
        .await
        .unwrap_err();
    assert!(
        matches!(&error.cause, Cause::Unavailable(why) if why.starts_with("its exports do not fit the contract")),
        "{error:?}"
    );
}

#[test]
fn native_code_is_refused() {
    let engine = wasmtime::Engine::default();
    let native = engine
        .precompile_component(&wat::parse_str("(component)").unwrap())
        .unwrap();
    assert!(matches!(RUNTIME.load(&native).unwrap_err(), LoadError::Precompiled));
}

#[test]
fn a_plugin_may_not_be_too_large() {
    let runtime = Runtime::new(&Settings {
        max_plugin_size: 10,
        pool: Pool::OnDemand,
        ..small()
    })
    .unwrap();
    let error = runtime.load(&berth_test_guests::component("obedient")).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { limit: 10, .. }));
}

#[test]
fn equal_bytes_are_one_plugin() {
    assert!(Arc::ptr_eq(&plugin("obedient"), &plugin("obedient")));
    assert_eq!(plugin("obedient").digest().as_str().len(), 64);
}

#[tokio::test]
async fn without_address_space_for_the_pool_instances_are_made_on_demand() {
    // A hundred thousand memories of 4 GiB exceed the 128 TiB of a process.
    let pool = Pool::Slots {
        memories: NonZeroU32::new(100_000).unwrap(),
        max_memory: 1 << 30,
    };
    let runtime = Runtime::new(&Settings { pool, ..small() }).unwrap();
    let plugin = runtime.load(&berth_test_guests::component("obedient")).unwrap();
    let answered = plugin
        .call(&Question::Preconditions { facts: facts().into() }, &context())
        .await
        .unwrap();
    assert_eq!(answered.answer, proceed(Value::Null));
}

#[test]
fn a_digest_is_64_lower_case_hex_digits() {
    let digest = Digest::of(b"");
    assert_eq!(
        digest.as_str(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(Digest::try_from(digest.to_string()), Ok(digest.clone()));
    assert!(Digest::try_from(digest.to_string().to_uppercase()).is_err());
    assert!(Digest::try_from("abc".to_owned()).is_err());
}
