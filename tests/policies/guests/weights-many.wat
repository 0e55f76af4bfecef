;; aggregation: weighs an update that is not there.
(func $weigh (type $weigh) (call $honest_weigh (i32.add (local.get 7) (i32.const 1))))
