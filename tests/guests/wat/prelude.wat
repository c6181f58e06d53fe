;; Shared by the guests: an allocator that only grows, and an answer at address 16.
;;
;; The answer begins as `ok(answer { verdict: proceed, carry: "null" })`. Its layout:
;; 16 ok or error, 20 the verdict's case, 24 its text, 40 the carry's address, 44 its length.
(global $next (mut i32) (i32.const 65536))
(func $allocate (export "cabi_realloc") (param $old i32) (param $from i32) (param $align i32) (param $size i32) (result i32)
  (local $at i32) (local $end i32)
  (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
  (local.set $end (i32.add (local.get $at) (local.get $size)))
  (global.set $next (local.get $end))
  (block $fits
    (loop $grow
      (br_if $fits (i32.le_u (local.get $end) (i32.mul (memory.size) (i32.const 65536))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $grow)))
  (local.get $at))
(data (i32.const 40) "\00\04\00\00\04\00\00\00")
(data (i32.const 1024) "null")
;; Carries a text, which must be a JSON document.
(func $carry (param $at i32) (param $length i32)
  (i32.store (i32.const 40) (local.get $at))
  (i32.store (i32.const 44) (local.get $length)))
;; Says that the subject is not applicable, for a reason.
(func $not_applicable (param $at i32) (param $length i32)
  (i32.store8 (i32.const 20) (i32.const 2))
  (i32.store (i32.const 24) (local.get $at))
  (i32.store (i32.const 28) (local.get $length)))
;; Tells what an import answered at address 512: an error as not applicable with the error's
;; text, a success as proceed with its document carried.
(func $tell (param $document i32)
  (if (i32.load8_u (i32.const 512))
    (then (call $not_applicable (i32.load (i32.const 520)) (i32.load (i32.const 524))))
    (else (if (local.get $document)
      (then (call $carry (i32.load (i32.const 516)) (i32.load (i32.const 520))))))))
