;; aggregation: loops for ever over a round.
(func $weigh (type $weigh) (loop $l (br $l)) (unreachable))
