;; aggregation: never still, and never done: fills its memory over and over in calls that no loop of its own interrupts.
(memory $memory (export "memory") 1024)
(func $weigh (type $weigh)
  (loop $l
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 67108864))
    (memory.copy (i32.const 1) (i32.const 0) (i32.const 67108863))
    (br $l))
  (unreachable))
