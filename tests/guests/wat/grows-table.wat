;; Grows a table until it may not; then it traps.
(module
  (memory (export "memory") 1)
  ;;prelude
  (table $table 1 funcref)
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (loop $more (br_if $more (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
    unreachable
    i32.const 16))
