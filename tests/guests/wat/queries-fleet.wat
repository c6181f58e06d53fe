;; POSTs to the path that is its configuration, with the body `null`.
(module
  (import "hyperfleet:adapter/fleet@0.1.0" "query" (func $query (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2048) "POST")
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $query (i32.const 2048) (i32.const 4) (i32.load offset=140 (local.get $facts)) (i32.load offset=144 (local.get $facts)) (i32.const 0) (i32.const 0)
      (i32.const 1) (i32.const 1024) (i32.const 4) (i32.const 512))
    (call $tell (i32.const 1))
    i32.const 16))
