;; placement: lets a table grow until it may not, then fails.
(table $t 1 funcref)
(func $place (type $place)
  (loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
  (unreachable))
