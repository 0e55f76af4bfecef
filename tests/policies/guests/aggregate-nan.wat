;; aggregation: an aggregate that is no number.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine)
  (drop (call $honest_combine (local.get 6) (local.get 7)))
  (f32.store (i32.load (i32.const 3076)) (f32.const nan))
  (i32.const 3072))
