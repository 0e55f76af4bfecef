;; placement: names a GPU that the worker does not have.
(func $place (type $place)
  (drop (call $honest_place (local.get 1) (local.get 2)))
  (i32.store8 (i32.const 4104) (i32.const 1))
  (i32.store (i32.const 4108) (i32.const 4096))
  (i32.const 2048))
