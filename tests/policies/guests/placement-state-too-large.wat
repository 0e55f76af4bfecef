;; placement: a state of one byte more than is kept.
(func $place (type $place) (i32.store (i32.const 2072) (i32.const 65537)) (i32.const 2048))
