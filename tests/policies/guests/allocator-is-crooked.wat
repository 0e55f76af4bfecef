;; aggregation: gives the host room for a question across the words it asked for.
(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 16387))
