;; Carries the subject's document; gives the time of the reconcile as a reason.
(module
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $carry (i32.load offset=124 (local.get $facts)) (i32.load offset=128 (local.get $facts)))
    (call $not_applicable (i32.load offset=172 (local.get $facts)) (i32.load offset=176 (local.get $facts)))
    i32.const 16))
