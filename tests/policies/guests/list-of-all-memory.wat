;; placement: a state as long as the whole address space.
(func $place (type $place) (i32.store (i32.const 2072) (i32.const -1)) (i32.const 2048))
