;; aggregation: a state of one byte more than is kept.
(func $weigh (type $weigh)
  (i32.store (i32.const 2080) (i32.const 65537))
  (call $honest_weigh (local.get 7)))
