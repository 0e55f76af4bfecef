;; release: was made for a contract yet to come.
;; contract: 9.0.0
