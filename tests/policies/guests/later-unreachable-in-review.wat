;; release: lets everything leave in round 1, fails from round 2 on.
(func $review (type $review)
  (if (i32.ge_u (i32.load offset=80 (local.get 0)) (i32.const 2)) (then (unreachable)))
  (i32.const 2048))
