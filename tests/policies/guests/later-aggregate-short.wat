;; aggregation: honest in round 1, an aggregate of the wrong length from round 2 on.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine)
  (drop (call $honest_combine (local.get 6) (local.get 7)))
  (if (i32.ge_u (local.get 0) (i32.const 2))
    (then (i32.store (i32.const 3080) (i32.sub (i32.load (i32.const 3080)) (i32.const 1)))))
  (i32.const 3072))
