;; Lists ConfigMaps of the namespace that is its configuration.
(module
  (import "hyperfleet:adapter/cluster@0.1.0" "find" (func $find (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2048) "v1ConfigMap")
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (call $find (i32.const 2048) (i32.const 2) (i32.const 2050) (i32.const 9) (i32.const 1) (i32.load offset=140 (local.get $facts)) (i32.load offset=144 (local.get $facts))
      (i32.const 0) (i32.const 0) (i32.const 512))
    (call $tell (i32.const 0))
    i32.const 16))
