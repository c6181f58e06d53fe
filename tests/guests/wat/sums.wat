;; Grows two memories in turn; the sum counts.
(module
  (memory (export "memory") 1)
  ;;prelude
  (memory $second 1)
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (drop (memory.grow $second (i32.const 160)))
    (drop (memory.grow 0 (i32.const 160)))
    i32.const 16))
