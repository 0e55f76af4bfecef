;; aggregation: one note for several updates.
(func $weigh (type $weigh)
  (i32.store (i32.const 2084) (i32.const 8192))
  (i32.store (i32.const 2088) (i32.const 1))
  (call $honest_weigh (local.get 7)))
