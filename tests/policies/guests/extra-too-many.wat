;; aggregation: three further sums.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 0)))
(func $weigh (type $weigh)
  (local $at i32)
  (drop (call $honest_weigh (local.get 7)))
  (loop $l
    (i32.store offset=8192 (local.get $at) (i32.const 4096))
    (i32.store offset=8196 (local.get $at) (local.get 7))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $l (i32.lt_u (local.get $at) (i32.const 24))))
  (i32.store (i32.const 2060) (i32.const 8192))
  (i32.store (i32.const 2064) (i32.const 3))
  (i32.const 2048))
