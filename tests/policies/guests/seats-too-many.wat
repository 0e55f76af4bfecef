;; placement: more assignments than there are candidates.
(func $place (type $place)
  (call $answer (i32.add (i32.const 1) (i32.load offset=24 (local.get 1)))))
