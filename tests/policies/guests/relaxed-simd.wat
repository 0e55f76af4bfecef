;; placement: uses instructions whose results differ between machines.
(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))
