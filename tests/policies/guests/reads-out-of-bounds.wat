;; placement: reads at the very end of the address space.
(func $place (type $place) (i32.load (i32.const -8)))
