;; aggregation: honest in round 1, fails in the server step from round 2 on.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 0)))
(func $step (type $step)
  (if (i32.ge_u (local.get 0) (i32.const 2)) (then (unreachable)))
  (call $honest_step (local.get 6) (local.get 7) (local.get 8) (local.get 12) (local.get 13)))
