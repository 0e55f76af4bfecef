;; aggregation: wants to read files.
(import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
(func $weigh (type $weigh) (call $directories (i32.const 8192)) (call $honest_weigh (local.get 7)))
