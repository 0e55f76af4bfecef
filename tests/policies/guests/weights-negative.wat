;; aggregation: the first update counts against its region.
(func $weigh (type $weigh)
  (drop (call $honest_weigh (local.get 7)))
  (f32.store (i32.const 4096) (f32.const -0.5))
  (i32.const 2048))
