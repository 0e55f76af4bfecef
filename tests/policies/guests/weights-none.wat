;; aggregation: weighs nothing.
(func $weigh (type $weigh) (call $plan (i32.const 0)))
