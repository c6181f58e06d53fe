;; Writes ten warnings.
(module
  (import "hyperfleet:adapter/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (local $count i32)
    (loop $next
      (call $emit (i32.const 2) (i32.const 1024) (i32.const 4))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (i32.const 10))))
    i32.const 16))
