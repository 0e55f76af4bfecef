;; aggregation: fails at once.
(func $weigh (type $weigh) (unreachable))
