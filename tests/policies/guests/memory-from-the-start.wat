;; placement: wants 256 MB before it has done anything.
(memory $memory (export "memory") 4000)
