;; aggregation: was made for a contract that is ours but for a digit.
;; contract: 0.2.1
