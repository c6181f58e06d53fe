;; Calls itself for ever.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func $deeper (call $deeper) (call $deeper))
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $deeper)
    i32.const 16))
