;; What every guest has. A guest that defines one of these names itself gets its own instead.

;; An allocator that only moves up, and asks for more memory as it needs it.
(memory $memory (export "memory") 2)
(global $next (mut i32) (i32.const 16384))
(func $realloc (param $old i32) (param $old_len i32) (param $align i32) (param $len i32) (result i32)
  (local $at i32) (local $missing i32)
  (local.set $at (i32.and
    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
    (i32.sub (i32.const 0) (local.get $align))))
  (global.set $next (i32.add (local.get $at) (local.get $len)))
  (local.set $missing (i32.sub
    (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16))
    (memory.size)))
  (if (i32.gt_s (local.get $missing) (i32.const 0))
    (then (if (i32.eq (memory.grow (local.get $missing)) (i32.const -1)) (then (unreachable)))))
  (local.get $at))
(export "cabi_realloc" (func $realloc))

;; Forgets what one call allocated.
(func $done (param i32) (global.set $next (i32.const 16384)))

;; `count` times the same float32 at 4096, where answers find them.
(func $fill (param $count i32) (param $value f32)
  (local $at i32)
  (block $end
    (loop $again
      (br_if $end (i32.ge_u (local.get $at) (local.get $count)))
      (f32.store offset=4096 (i32.shl (local.get $at) (i32.const 2)) (local.get $value))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $again))))
