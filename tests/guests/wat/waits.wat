;; Waits for `a`, and asks to be asked again after 1500 ms.
(module
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2064) "asoon")
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 2048))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.store8 (i32.const 32) (i32.const 1))
    (i32.store (i32.const 36) (i32.const 1500))
    (i32.store (i32.const 2048) (i32.const 2064))
    (i32.store (i32.const 2052) (i32.const 1))
    (i32.store (i32.const 2056) (i32.const 2065))
    (i32.store (i32.const 2060) (i32.const 4))
    i32.const 16))
