;; placement: an answer that begins in the middle of a word.
(func $place (type $place) (i32.const 2049))
