;; placement: honest in round 1, from round 2 on it gives a seat to a worker that has no slot left, which a demand's candidates never
;; name: the first worker that is not among them.
(func $is_candidate (param $demand i32) (param $worker i32) (result i32)
  (local $at i32)
  (loop $again
    (if (i32.lt_u (local.get $at) (i32.load offset=24 (local.get $demand)))
      (then
        (if (i32.eq (local.get $worker)
              (i32.load (i32.add (i32.load offset=20 (local.get $demand)) (i32.shl (local.get $at) (i32.const 2)))))
          (then (return (i32.const 1))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $again))))
  (i32.const 0))
(func $place (type $place)
  (local $worker i32)
  (if (i32.lt_u (call $round (local.get 1) (local.get 2)) (i32.const 2))
    (then (return (call $honest_place (local.get 1) (local.get 2)))))
  (loop $again
    (if (i32.and
          (i32.lt_u (local.get $worker) (local.get 4))
          (call $is_candidate (local.get 1) (local.get $worker)))
      (then
        (local.set $worker (i32.add (local.get $worker) (i32.const 1)))
        (br $again))))
  (call $seat (i32.const 0) (i32.const 0) (local.get $worker))
  (call $answer (i32.const 1)))
