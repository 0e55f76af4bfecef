;; aggregation: a further sum over fewer updates than there are.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 0)))
(func $weigh (type $weigh)
  (drop (call $honest_weigh (local.get 7)))
  (i32.store (i32.const 8192) (i32.const 4096))
  (i32.store (i32.const 8196) (i32.const 1))
  (i32.store (i32.const 2060) (i32.const 8192))
  (i32.store (i32.const 2064) (i32.const 1))
  (i32.const 2048))
