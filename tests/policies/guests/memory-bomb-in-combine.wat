;; aggregation: takes memory with every chunk and gives none back.
(func $describe (type $describe) (call $traits (i32.const 1) (i32.const 0) (i32.const 0)))
(func $combine (type $combine)
  (loop $l (br_if $l (i32.ne (memory.grow (i32.const 256)) (i32.const -1))))
  (unreachable))
