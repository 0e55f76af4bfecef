;; aggregation: honest in round 1, weights that are no numbers from round 2 on.
(func $weigh (type $weigh)
  (if (i32.ge_u (local.get 0) (i32.const 2))
    (then
      (call $fill (local.get 7) (f32.const nan))
      (return (call $plan (local.get 7)))))
  (call $honest_weigh (local.get 7)))
