;; aggregation: fails at the first step.
(func $describe (type $describe) (call $traits (i32.const 0) (i32.const 1) (i32.const 0)))
(func $step (type $step) (unreachable))
