;; An honest placement policy: the first demand gets as many of its candidates as it has seats, the others wait.

(type $check (func (param i32 i32) (result i32)))
;; 0 seed, 1 demands, 2 their number, 3 workers, 4 their number, 5 state, 6 its length, 7 parameters, 8 their length
(type $place (func (param i64 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))

(export "polder:policy/placer@0.2.0#check" (func $check))
(export "polder:policy/placer@0.2.0#place" (func $place))

;; The result of `check` at 1024: zeros are ok.
(func $check (type $check) (i32.const 1024))

;; The result of `place` at 2048: ok, assignments at 2052 and 2056, declined at 2060 and 2064, state at 2068 and 2072. The assignments
;; lie at 4096, 24 bytes each: demand, worker, is there a GPU, which, reason and its length.
(func $answer (param $assignments i32) (result i32)
  (i32.store (i32.const 2052) (i32.const 4096))
  (i32.store (i32.const 2056) (local.get $assignments))
  (i32.const 2048))
(func $seat (param $number i32) (param $demand i32) (param $worker i32)
  (local $at i32)
  (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $number) (i32.const 24))))
  (i32.store (local.get $at) (local.get $demand))
  (i32.store offset=4 (local.get $at) (local.get $worker)))
;; A demand has its round at 8, its seats at 12, its candidates at 20 and 24.
(func $honest_place (param $demands i32) (param $demands_len i32) (result i32)
  (local $seat i32)
  (block $end
    (br_if $end (i32.eqz (local.get $demands_len)))
    (loop $again
      (br_if $end (i32.ge_u (local.get $seat) (i32.load offset=12 (local.get $demands))))
      (br_if $end (i32.ge_u (local.get $seat) (i32.load offset=24 (local.get $demands))))
      (call $seat (local.get $seat) (i32.const 0)
        (i32.load (i32.add (i32.load offset=20 (local.get $demands)) (i32.shl (local.get $seat) (i32.const 2)))))
      (local.set $seat (i32.add (local.get $seat) (i32.const 1)))
      (br $again)))
  (call $answer (local.get $seat)))
(func $place (type $place) (call $honest_place (local.get 1) (local.get 2)))

;; The round of the first demand; 0 if there is none.
(func $round (param $demands i32) (param $demands_len i32) (result i32)
  (if (result i32) (local.get $demands_len)
    (then (i32.load offset=8 (local.get $demands)))
    (else (i32.const 0))))
