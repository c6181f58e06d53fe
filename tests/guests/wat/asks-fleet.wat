;; GETs the path that is its configuration.
(module
  (import "hyperfleet:adapter/fleet@0.1.0" "get" (func $get (param i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $get (i32.load offset=140 (local.get $facts)) (i32.load offset=144 (local.get $facts)) (i32.const 512))
    (call $tell (i32.const 1))
    ;; A rejection has its text behind its status.
    (if (i32.and (i32.load8_u (i32.const 512)) (i32.eq (i32.load8_u (i32.const 516)) (i32.const 3)))
      (then (call $not_applicable (i32.load (i32.const 524)) (i32.load (i32.const 528)))))
    i32.const 16))
