;; release: noise that leaves nothing of the update.
(func $review (type $review) (call $noise (f64.const inf)) (i32.const 2048))
