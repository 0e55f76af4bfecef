;; placement: loops for ever before it can be asked anything.
(func $spin (loop $l (br $l)))
(start $spin)
