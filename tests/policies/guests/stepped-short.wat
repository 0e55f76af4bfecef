;; aggregation: the next model lacks a value.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 0)))
(func $step (type $step)
  (call $stepped (local.get 6) (i32.sub (local.get 7) (i32.const 1)) (local.get 12) (local.get 13)))
