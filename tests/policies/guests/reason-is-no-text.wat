;; aggregation: a reason that is not UTF-8.
(data (i32.const 8192) "\ff\fe")
(func $weigh (type $weigh)
  (i32.store (i32.const 2092) (i32.const 8192))
  (i32.store (i32.const 2096) (i32.const 2))
  (call $honest_weigh (local.get 7)))
