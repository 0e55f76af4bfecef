;; aggregation: large frames on a stack in linear memory, as compilers make them for variables whose address is taken; the stack grows
;; down from 16 KiB, and below 0 there is nothing.
(global $stack (mut i32) (i32.const 16384))
(func $deep (result i32)
  (global.set $stack (i32.sub (global.get $stack) (i32.const 1024)))
  (i32.store (global.get $stack) (i32.const 1))
  (i32.add (call $deep) (i32.load (global.get $stack))))
(func $weigh (type $weigh) (call $deep))
