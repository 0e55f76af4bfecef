;; aggregation: an aggregate of one value less than its columns.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine)
  (call $aggregate (i32.const 4096) (i32.sub (i32.load offset=4 (local.get 6)) (i32.const 1))))
