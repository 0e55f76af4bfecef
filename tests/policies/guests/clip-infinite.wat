;; release: says that it clips, and does not.
(func $review (type $review) (call $clip (f64.const inf)) (i32.const 2048))
