;; Answers with a failure of its own.
(module
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2048) "NoBackendthe sky is red")
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (i32.store8 (i32.const 16) (i32.const 1))
    (i32.store (i32.const 20) (i32.const 2048))
    (i32.store (i32.const 24) (i32.const 9))
    (i32.store (i32.const 28) (i32.const 2057))
    (i32.store (i32.const 32) (i32.const 14))
    i32.const 16))
