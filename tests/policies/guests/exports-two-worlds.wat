;; placement + aggregation: would choose the workers and weigh their updates.
