;; aggregation: control variates from a state tensor that it does not have.
(func $describe (type $describe)
  (drop (call $traits (i32.const 0) (i32.const 1) (i32.const 1)))
  (i32.store8 (i32.const 1064) (i32.const 1))
  (i32.store (i32.const 1080) (i32.const 1))
  (i32.const 1024))
