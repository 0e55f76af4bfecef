;; aggregation: weights that begin in the middle of a word.
(func $weigh (type $weigh)
  (drop (call $honest_weigh (local.get 7)))
  (i32.store (i32.const 2052) (i32.const 4098))
  (i32.const 2048))
