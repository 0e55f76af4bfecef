;; placement: honest in round 1, names a worker that is not there from round 2 on.
(func $place (type $place)
  (if (i32.ge_u (call $round (local.get 1) (local.get 2)) (i32.const 2))
    (then
      (call $seat (i32.const 0) (i32.const 0) (i32.const 99))
      (return (call $answer (i32.const 1)))))
  (call $honest_place (local.get 1) (local.get 2)))
