;; Carries the subject's document. Its answers vary by what the four bytes that were prepared say, a phase each; a fifth
;; byte has it log a line.
(module
  (import "hyperfleet:adapter/log@0.1.0" "emit" (func $emit (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/vary@0.1.0#by") (param $at i32) (param $length i32) (result i32)
    local.get $at)
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (if (i32.gt_u (i32.load offset=152 (local.get $facts)) (i32.const 4))
      (then (call $emit (i32.const 2) (i32.const 1024) (i32.const 4))))
    (call $carry (i32.load offset=124 (local.get $facts)) (i32.load offset=128 (local.get $facts)))
    i32.const 16))
