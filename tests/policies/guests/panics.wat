;; aggregation: what a panic is in a guest written in Rust with `panic = "abort"`: the message is in memory, and nobody can be told.
(data (i32.const 8192) "index out of bounds: the len is 3 but the index is 3")
(global $message (mut i32) (i32.const 0))
(func $rust_panic (param i32) (global.set $message (local.get 0)) (unreachable))
(func $begin_panic_handler (param i32) (call $rust_panic (local.get 0)) (unreachable))
(func $weigh (type $weigh) (call $begin_panic_handler (i32.const 8192)) (call $honest_weigh (local.get 7)))
