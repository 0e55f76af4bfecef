;; aggregation: fails at the first chunk.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine) (unreachable))
