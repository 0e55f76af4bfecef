;; aggregation: works with no update at all.
(func $describe (type $describe)
  (drop (call $traits (i32.const 0) (i32.const 0) (i32.const 0)))
  (i32.store (i32.const 1036) (i32.const 0))
  (i32.const 1024))
