;; aggregation: answers, and loops for ever when it is told that the answer was read.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $done (param i32) (loop $l (br $l)))
