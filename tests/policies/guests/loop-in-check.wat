;; placement: never says whether it takes its parameters.
(func $check (type $check) (loop $l (br $l)) (unreachable))
