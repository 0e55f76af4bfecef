;; aggregation: an aggregate of 64 MiB for a chunk of a few values.
(memory $memory (export "memory") 1100)
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine) (call $aggregate (i32.const 16384) (i32.const 16777216)))
