;; aggregation: does what the frame does, and nothing to anybody.
