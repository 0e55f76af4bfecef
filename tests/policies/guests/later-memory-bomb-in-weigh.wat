;; aggregation: honest in round 1, takes all memory from round 2 on.
(func $weigh (type $weigh)
  (if (i32.ge_u (local.get 0) (i32.const 2))
    (then
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (unreachable)))
  (call $honest_weigh (local.get 7)))
