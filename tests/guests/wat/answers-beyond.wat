;; Carries a text beyond the end of its memory.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $carry (i32.const 0x7fff0000) (i32.const 4096))
    i32.const 16))
