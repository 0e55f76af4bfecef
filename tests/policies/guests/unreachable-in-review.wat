;; release: fails at once.
(func $review (type $review) (unreachable))
