;; aggregation: eight million notes, each of them empty.
(memory $memory (export "memory") 1100)
(func $weigh (type $weigh)
  (i32.store (i32.const 2084) (i32.const 16384))
  (i32.store (i32.const 2088) (i32.const 8388608))
  (call $honest_weigh (local.get 7)))
