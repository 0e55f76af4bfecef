;; placement: six memories, each of them small enough, together not.
(memory 400) (memory 400) (memory 400) (memory 400) (memory 400) (memory 400)
