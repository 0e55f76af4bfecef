;; aggregation: honest in round 1, loops for ever from round 2 on.
(func $weigh (type $weigh)
  (if (i32.ge_u (local.get 0) (i32.const 2)) (then (loop $l (br $l))))
  (call $honest_weigh (local.get 7)))
