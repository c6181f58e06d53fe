;; Carries a list in a list in a list, a thousand deep.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (memory.fill (i32.const 2048) (i32.const 91) (i32.const 1000))
    (memory.fill (i32.const 3048) (i32.const 93) (i32.const 1000))
    (call $carry (i32.const 2048) (i32.const 2000))
    i32.const 16))
