;; release: noise of a negative deviation.
(func $review (type $review) (call $noise (f64.const -0.5)) (i32.const 2048))
