;; Carries as many bytes as the number in its configuration says, as one JSON text.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (local $at i32) (local $size i32) (local $digit i32) (local $end i32)
    (local.set $at (i32.load offset=140 (local.get $facts)))
    (local.set $end (i32.add (local.get $at) (i32.load offset=144 (local.get $facts))))
    (loop $next
      (local.set $digit (i32.load8_u (local.get $at)))
      (local.set $size (i32.add (i32.mul (local.get $size) (i32.const 10)) (i32.sub (local.get $digit) (i32.const 48))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (local.set $at (call $allocate (i32.const 0) (i32.const 0) (i32.const 1) (local.get $size)))
    (memory.fill (local.get $at) (i32.const 120) (local.get $size))
    (i32.store8 (local.get $at) (i32.const 34))
    (i32.store8 (i32.sub (i32.add (local.get $at) (local.get $size)) (i32.const 1)) (i32.const 34))
    (call $carry (local.get $at) (local.get $size))
    i32.const 16))
