;; aggregation: a shape that the contract does not know.
(func $describe (type $describe) (call $traits (i32.const 7) (i32.const 0) (i32.const 0)))
