;; An honest aggregation policy: every update counts the same, `combine` takes the mean, `step` adds.

(type $describe (func (param i32 i32) (result i32)))
;; 0 round, 1 seed, 2 model-parameters, 3 tensors, 4 their number, 5 population, 6 updates, 7 their number, 8 norms, 9 their
;; number, 10 products, 11 their number, 12 state, 13 its length, 14 parameters, 15 their length
(type $weigh (func (param i32 i64 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
;; 0 round, 1 seed, 2 tensor, 3 offset, 4 memo, 5 its length, 6 rows, 7 their number, 8 weights, 9 their number, 10 parameters,
;; 11 their length
(type $combine (func (param i32 i64 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
;; 0 round, 1 seed, 2 tensor, 3 offset, 4 memo, 5 its length, 6 model, 7 its length, 8 aggregate, 9 its length, 10 extra, 11 their
;; number, 12 state, 13 their number, 14 parameters, 15 their length
(type $step (func (param i32 i64 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))

(export "polder:policy/aggregator@0.2.0#describe" (func $describe))
(export "polder:policy/aggregator@0.2.0#weigh" (func $weigh))
(export "polder:policy/aggregator@0.2.0#combine" (func $combine))
(export "polder:policy/aggregator@0.2.0#step" (func $step))
(export "cabi_post_polder:policy/aggregator@0.2.0#combine" (func $done))
(export "cabi_post_polder:policy/aggregator@0.2.0#step" (func $done))

;; The result of `describe` at 1024: ok, shape at 1032, statistics 1033, updates-min 1036, has-step 1040, state-tensors 1044,
;; proximal-mu 1048 (is it there) and 1056, correction 1064 (is it there), 1072 (which) and 1080, base-loss 1088.
(func $traits (param $shape i32) (param $has_step i32) (param $state_tensors i32) (result i32)
  (i32.store8 (i32.const 1032) (local.get $shape))
  (i32.store (i32.const 1036) (i32.const 1))
  (i32.store8 (i32.const 1040) (local.get $has_step))
  (i32.store (i32.const 1044) (local.get $state_tensors))
  (i32.const 1024))
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 0) (i32.const 0)))

;; The result of `weigh` at 2048: ok, weights at 2052 and 2056, extra-weights 2060 and 2064, memo 2068 and 2072, state 2076 and
;; 2080, notes 2084 and 2088, reason 2092 and 2096. The weights lie at 4096.
(func $plan (param $count i32) (result i32)
  (i32.store (i32.const 2052) (i32.const 4096))
  (i32.store (i32.const 2056) (local.get $count))
  (i32.const 2048))
(func $honest_weigh (param $updates i32) (result i32)
  (call $fill (local.get $updates) (f32.const 1))
  (call $plan (local.get $updates)))
(func $weigh (type $weigh) (call $honest_weigh (local.get 7)))

;; The result of `combine` at 3072: ok, the aggregate at 3076 and 3080.
(func $aggregate (param $at i32) (param $count i32) (result i32)
  (i32.store (i32.const 3076) (local.get $at))
  (i32.store (i32.const 3080) (local.get $count))
  (i32.const 3072))
(func $honest_combine (param $rows i32) (param $rows_len i32) (result i32)
  (local $row i32) (local $at i32) (local $end i32) (local $into i32) (local $sum i32)
  ;; the first row becomes the sum, then the mean
  (local.set $sum (i32.load (local.get $rows)))
  (local.set $end (i32.shl (i32.load offset=4 (local.get $rows)) (i32.const 2)))
  (block $added
    (loop $next_row
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $added (i32.ge_u (local.get $row) (local.get $rows_len)))
      (local.set $at (i32.const 0))
      (block $walked
        (loop $next_value
          (br_if $walked (i32.ge_u (local.get $at) (local.get $end)))
          (local.set $into (i32.add (local.get $sum) (local.get $at)))
          (f32.store (local.get $into) (f32.add
            (f32.load (local.get $into))
            (f32.load (i32.add (local.get $at)
              (i32.load (i32.add (local.get $rows) (i32.shl (local.get $row) (i32.const 3))))))))
          (local.set $at (i32.add (local.get $at) (i32.const 4)))
          (br $next_value)))
      (br $next_row)))
  (local.set $at (i32.const 0))
  (block $divided
    (loop $next_value
      (br_if $divided (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $into (i32.add (local.get $sum) (local.get $at)))
      (f32.store (local.get $into) (f32.div (f32.load (local.get $into)) (f32.convert_i32_u (local.get $rows_len))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br $next_value)))
  (call $aggregate (local.get $sum) (i32.shr_u (local.get $end) (i32.const 2))))
(func $combine (type $combine) (call $honest_combine (local.get 6) (local.get 7)))

;; The result of `step` at 3328: ok, the model at 3332 and 3336, the state at 3340 and 3344. What came in goes out again.
(func $stepped (param $model i32) (param $count i32) (param $state i32) (param $state_count i32) (result i32)
  (i32.store (i32.const 3332) (local.get $model))
  (i32.store (i32.const 3336) (local.get $count))
  (i32.store (i32.const 3340) (local.get $state))
  (i32.store (i32.const 3344) (local.get $state_count))
  (i32.const 3328))
(func $honest_step (param $model i32) (param $count i32) (param $aggregate i32) (param $state i32) (param $state_count i32)
  (result i32)
  (local $at i32) (local $into i32)
  (block $end
    (loop $again
      (br_if $end (i32.ge_u (local.get $at) (i32.shl (local.get $count) (i32.const 2))))
      (local.set $into (i32.add (local.get $model) (local.get $at)))
      (f32.store (local.get $into) (f32.add
        (f32.load (local.get $into))
        (f32.load (i32.add (local.get $aggregate) (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br $again)))
  (call $stepped (local.get $model) (local.get $count) (local.get $state) (local.get $state_count)))
(func $step (type $step)
  (call $honest_step (local.get 6) (local.get 7) (local.get 8) (local.get 12) (local.get 13)))
