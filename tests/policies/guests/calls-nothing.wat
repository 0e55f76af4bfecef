;; placement: calls what its table does not hold.
(table $t 1 funcref)
(func $place (type $place) (call_indirect $t (result i32) (i32.const 0)))
