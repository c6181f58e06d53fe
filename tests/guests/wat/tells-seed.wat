;; Carries a text with the sixteen hex digits of the seed.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (local $at i32) (local $seed i64) (local $digit i32)
    (local.set $seed (i64.load offset=184 (local.get $facts)))
    (i32.store8 (i32.const 2048) (i32.const 34))
    (i32.store8 (i32.const 2065) (i32.const 34))
    (local.set $at (i32.const 2064))
    (loop $next
      (local.set $digit (i32.and (i32.wrap_i64 (local.get $seed)) (i32.const 15)))
      (i32.store8 (local.get $at) (i32.add (local.get $digit)
        (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get $digit) (i32.const 10)))))
      (local.set $seed (i64.shr_u (local.get $seed) (i64.const 4)))
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (br_if $next (i32.gt_u (local.get $at) (i32.const 2048))))
    (call $carry (i32.const 2048) (i32.const 18))
    i32.const 16))
