;; placement: loops for ever.
(func $place (type $place) (loop $l (br $l)) (unreachable))
