;; Implements every phase and `setup`, which prepares `ok` and refuses a configuration that
;; is shorter than three bytes.
(module
  (memory (export "memory") 1)
  ;;prelude
  (data (i32.const 2048) "skipper" "notyet" "{\"kind\":\"Job\"}" "{\"a\":1}" "Ready" "Because" "fine")
  (data (i32.const 2304) "config" "too short" "ok")

  ;; Three problems would be listed; there is one: `config` is `too short`.
  (func (export "hyperfleet:adapter/setup@0.1.0#prepare") (param $at i32) (param $length i32) (result i32)
    (i32.store (i32.const 20) (i32.const 2319))
    (i32.store (i32.const 24) (i32.const 2))
    (if (i32.lt_u (local.get $length) (i32.const 3))
      (then
        (i32.store8 (i32.const 16) (i32.const 1))
        (i32.store (i32.const 20) (i32.const 2560))
        (i32.store (i32.const 24) (i32.const 1))
        (i32.store (i32.const 2560) (i32.const 2304))
        (i32.store (i32.const 2564) (i32.const 6))
        (i32.store (i32.const 2568) (i32.const 2310))
        (i32.store (i32.const 2572) (i32.const 9))))
    i32.const 16)

  ;; Proceeds and carries what was prepared, in quotes.
  (func (export "hyperfleet:adapter/preconditions@0.1.0#evaluate") (param $facts i32) (result i32)
    (local $at i32)
    (local.set $at (i32.load offset=148 (local.get $facts)))
    (i32.store8 (i32.const 2600) (i32.const 34))
    (i32.store8 (i32.const 2601) (i32.load8_u (local.get $at)))
    (i32.store8 (i32.const 2602) (i32.load8_u offset=1 (local.get $at)))
    (i32.store8 (i32.const 2603) (i32.const 34))
    (call $carry (i32.const 2600) (i32.const 4))
    i32.const 16)

  ;; A plan of two operations: applies `skipper`, and skips `skipper` for `notyet`; asks again.
  (func (export "hyperfleet:adapter/resources@0.1.0#plan-objects") (param $arguments i32) (result i32)
    ;; apply(manifest { name, document, recreate: true, after: [] }), 32 bytes with its case.
    (i32.store8 (i32.const 2700) (i32.const 0))
    (i32.store (i32.const 2704) (i32.const 2048))
    (i32.store (i32.const 2708) (i32.const 7))
    (i32.store (i32.const 2712) (i32.const 2061))
    (i32.store (i32.const 2716) (i32.const 14))
    (i32.store8 (i32.const 2720) (i32.const 1))
    ;; skip(skipped { name, reason }). An operation has 52 bytes: a deletion is the largest.
    (i32.store8 (i32.const 2752) (i32.const 3))
    (i32.store (i32.const 2756) (i32.const 2048))
    (i32.store (i32.const 2760) (i32.const 7))
    (i32.store (i32.const 2764) (i32.const 2055))
    (i32.store (i32.const 2768) (i32.const 6))
    (i32.store (i32.const 20) (i32.const 2700))
    (i32.store (i32.const 24) (i32.const 2))
    (i32.store8 (i32.const 28) (i32.const 1))
    (i32.store (i32.const 32) (i32.const 1024))
    (i32.store (i32.const 36) (i32.const 4))
    i32.const 16)

  ;; Pending with the message `notyet`.
  (func (export "hyperfleet:adapter/postconditions@0.1.0#evaluate") (param $arguments i32) (result i32)
    (i32.store (i32.const 24) (i32.const 2055))
    (i32.store (i32.const 28) (i32.const 6))
    i32.const 16)

  ;; Reports one condition and data, and asks for no action.
  (func (export "hyperfleet:adapter/status@0.1.0#report") (param $arguments i32) (result i32)
    ;; condition { type-name, status, reason, message }, 28 bytes.
    (i32.store (i32.const 2800) (i32.const 2082))
    (i32.store (i32.const 2804) (i32.const 5))
    (i32.store8 (i32.const 2808) (i32.const 2))
    (i32.store (i32.const 2812) (i32.const 2087))
    (i32.store (i32.const 2816) (i32.const 7))
    (i32.store (i32.const 2820) (i32.const 2094))
    (i32.store (i32.const 2824) (i32.const 4))
    (i32.store8 (i32.const 20) (i32.const 1))
    (i32.store (i32.const 24) (i32.const 2800))
    (i32.store (i32.const 28) (i32.const 1))
    (i32.store (i32.const 32) (i32.const 2075))
    (i32.store (i32.const 36) (i32.const 7))
    (i32.store (i32.const 40) (i32.const 0))
    (i32.store (i32.const 44) (i32.const 0))
    i32.const 16))
