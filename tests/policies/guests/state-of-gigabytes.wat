;; placement: a state of 64 MiB.
(memory $memory (export "memory") 1100)
(func $place (type $place)
  (i32.store (i32.const 2072) (i32.const 67108864))
  (i32.const 2048))
