;; aggregation: sixteen million weights.
(memory $memory (export "memory") 1100)
(func $weigh (type $weigh) (call $plan (i32.const 16777216)))
