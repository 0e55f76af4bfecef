;; aggregation: FedDyn with an alpha that is no number.
(func $describe (type $describe)
  (drop (call $traits (i32.const 0) (i32.const 0) (i32.const 0)))
  (i32.store8 (i32.const 1064) (i32.const 1))
  (i32.store8 (i32.const 1072) (i32.const 1))
  (f64.store (i32.const 1080) (f64.const nan))
  (i32.const 1024))
