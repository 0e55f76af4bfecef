;; aggregation: loops for ever when the host wants room for a question.
(func $realloc (param i32 i32 i32 i32) (result i32) (loop $l (br $l)) (unreachable))
