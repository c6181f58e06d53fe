;; Exports every phase. Only `setup` answers; the others trap.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/setup@0.1.0#prepare") (param $at i32) (param $length i32) (result i32)
    (i32.store (i32.const 20) (i32.const 1024))
    (i32.store (i32.const 24) (i32.const 4))
    i32.const 16)
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    unreachable)
  (func (export "hyperfleet:adapter/resources@0.1.0#plan-objects") (param $arguments i32) (result i32)
    unreachable)
  (func (export "hyperfleet:adapter/postconditions@0.1.0#evaluate") (param $arguments i32) (result i32)
    unreachable)
  (func (export "hyperfleet:adapter/status@0.1.0#report") (param $arguments i32) (result i32)
    unreachable))
