;; aggregation: the mean over no updates at all.
(func $weigh (type $weigh) (i32.div_u (local.get 7) (i32.const 0)))
