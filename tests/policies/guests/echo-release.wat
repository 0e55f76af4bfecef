;; release: answers with the bytes of its state, laid out at 1 MiB, so that whoever asks writes the answer.
(memory $memory (export "memory") 32)
(func $review (type $review)
  (memory.copy (i32.const 0x100000) (i32.load offset=128 (local.get 0)) (i32.load offset=132 (local.get 0)))
  (i32.const 0x100000))
