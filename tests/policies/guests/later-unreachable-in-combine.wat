;; aggregation: honest in round 1, fails over the columns from round 2 on.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine)
  (if (i32.ge_u (local.get 0) (i32.const 2)) (then (unreachable)))
  (call $honest_combine (local.get 6) (local.get 7)))
