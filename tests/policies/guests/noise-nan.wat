;; release: noise that is no number.
(func $review (type $review) (call $noise (f64.const nan)) (i32.const 2048))
