;; aggregation: a million state tensors, each of them the same mebibyte.
(memory $memory (export "memory") 1100)
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 1)))
(func $step (type $step)
  (local $at i32)
  (local.set $at (i32.const 16777216))
  (loop $l
    (i32.store offset=4 (local.get $at) (i32.const 262144))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br_if $l (i32.lt_u (local.get $at) (i32.const 25165824))))
  (call $stepped (local.get 6) (local.get 7) (i32.const 16777216) (i32.const 1000000)))
