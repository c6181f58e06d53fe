;; Carries what is not JSON.
(module
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2048) "{nope")
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $carry (i32.const 2048) (i32.const 5))
    i32.const 16))
