;; Answers with a verdict that does not exist.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (i32.store8 (i32.const 20) (i32.const 9))
    i32.const 16))
