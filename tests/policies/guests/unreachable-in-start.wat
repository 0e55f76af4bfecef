;; aggregation: fails before it can be asked anything.
(func $fail (unreachable))
(start $fail)
