;; placement: honest in round 1, gives one worker two seats of the same round from round 2 on.
(func $place (type $place)
  (local $worker i32)
  (if (i32.ge_u (call $round (local.get 1) (local.get 2)) (i32.const 2))
    (then
      (local.set $worker (i32.load (i32.load offset=20 (local.get 1))))
      (call $seat (i32.const 0) (i32.const 0) (local.get $worker))
      (call $seat (i32.const 1) (i32.const 0) (local.get $worker))
      (return (call $answer (i32.const 2)))))
  (call $honest_place (local.get 1) (local.get 2)))
