;; release: clips everything away.
(func $review (type $review) (call $clip (f64.const 0)) (i32.const 2048))
