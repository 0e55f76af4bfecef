;; placement: wants to know the time.
(import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
(func $place (type $place) (drop (call $now)) (i32.const 2048))
