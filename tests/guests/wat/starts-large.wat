;; Has 32 MiB of memory from the start.
(module
  (memory (export "memory") 512)
  ;;prelude
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    
    i32.const 16))
