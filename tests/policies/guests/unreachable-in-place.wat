;; placement: fails at once.
(func $place (type $place) (unreachable))
