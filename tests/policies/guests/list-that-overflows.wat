;; placement: so many assignments that their size in bytes does not fit 32 bits.
(func $place (type $place) (i32.store (i32.const 2056) (i32.const -1)) (i32.const 2048))
