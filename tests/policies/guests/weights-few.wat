;; aggregation: forgets an update.
(func $weigh (type $weigh) (call $honest_weigh (i32.sub (local.get 7) (i32.const 1))))
