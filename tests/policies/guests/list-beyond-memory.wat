;; placement: a state that begins inside its memory and ends outside.
(func $place (type $place)
  (i32.store (i32.const 2068) (i32.const 131062))
  (i32.store (i32.const 2072) (i32.const 100))
  (i32.const 2048))
