;; release: a clip that is neither there nor not there.
(func $review (type $review) (i32.store8 (i32.const 2064) (i32.const 2)) (i32.const 2048))
