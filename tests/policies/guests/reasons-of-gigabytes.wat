;; placement: two thousand assignments whose reasons are all the same mebibyte.
(memory $memory (export "memory") 32)
(func $place (type $place)
  (local $at i32)
  (memory.fill (i32.const 262144) (i32.const 97) (i32.const 1048576))
  (local.set $at (i32.const 65536))
  (loop $l
    (i32.store offset=16 (local.get $at) (i32.const 262144))
    (i32.store offset=20 (local.get $at) (i32.const 1048576))
    (local.set $at (i32.add (local.get $at) (i32.const 24)))
    (br_if $l (i32.lt_u (local.get $at) (i32.const 113536))))
  (i32.store (i32.const 2052) (i32.const 65536))
  (i32.store (i32.const 2056) (i32.const 2000))
  (i32.const 2048))
