;; placement: calls itself until the machine's stack is full.
(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1)))
(func $place (type $place) (call $deep (i32.const 0)))
