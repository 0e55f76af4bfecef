;; placement: takes memory until there is no more, then fails.
(func $place (type $place)
  (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
  (unreachable))
