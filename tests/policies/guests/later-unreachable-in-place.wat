;; placement: honest in round 1, fails from round 2 on.
(func $place (type $place)
  (if (i32.ge_u (call $round (local.get 1) (local.get 2)) (i32.const 2)) (then (unreachable)))
  (call $honest_place (local.get 1) (local.get 2)))
