;; An honest release policy: everything leaves as it is.

(type $check (func (param i32 i32) (result i32)))
;; Where the question and the parameters lie; the round is at 80.
(type $review (func (param i32) (result i32)))

(export "polder:policy/releaser@0.2.0#check" (func $check))
(export "polder:policy/releaser@0.2.0#review" (func $review))

;; The result of `check` at 1024: zeros are ok.
(func $check (type $check) (i32.const 1024))

;; The result of `review` at 2048: ok, verdict at 2056 (0 releases), clip at 2064 (is it there) and 2072, noise at 2080 and 2088, precision
;; at 2096, state at 2104 and 2108, reason at 2112 and 2116. Zeros release the update untouched.
(func $review (type $review) (i32.const 2048))
(func $clip (param $norm f64)
  (i32.store8 (i32.const 2064) (i32.const 1))
  (f64.store (i32.const 2072) (local.get $norm)))
(func $noise (param $deviation f64)
  (i32.store8 (i32.const 2080) (i32.const 1))
  (f64.store (i32.const 2088) (local.get $deviation)))
