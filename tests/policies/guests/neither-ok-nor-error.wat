;; placement: a result of a third kind.
(func $place (type $place) (i32.store8 (i32.const 2048) (i32.const 9)) (i32.const 2048))
