;; aggregation: gives the host room for a question where there is no memory.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const -64))
