;; placement: was made for an older contract.
;; contract: 0.1.0
