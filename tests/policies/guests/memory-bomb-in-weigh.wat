;; aggregation: asks for all there is, at once, and fails when it does not get it.
(func $weigh (type $weigh)
  (if (i32.eq (memory.grow (i32.const 65520)) (i32.const -1)) (then (unreachable)))
  (call $honest_weigh (local.get 7)))
