;; aggregation: a state tensor lacks a value.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 1)))
(func $step (type $step)
  (i32.store offset=4 (local.get 12) (i32.sub (local.get 7) (i32.const 1)))
  (call $stepped (local.get 6) (local.get 7) (local.get 12) (local.get 13)))
