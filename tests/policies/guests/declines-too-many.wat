;; placement: declines more demands than there are.
(func $place (type $place)
  (i32.store (i32.const 2060) (i32.const 8192))
  (i32.store (i32.const 2064) (i32.add (local.get 2) (i32.const 1)))
  (i32.const 2048))
