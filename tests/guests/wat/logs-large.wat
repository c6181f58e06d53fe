;; Writes one line of 4 MiB.
(module
  (import "hyperfleet:adapter/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (drop (memory.grow (i32.const 64)))
    (call $emit (i32.const 1) (i32.const 4096) (i32.const 4194304))
    i32.const 16))
