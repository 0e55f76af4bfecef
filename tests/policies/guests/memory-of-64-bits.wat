;; component: wants more memory than 32 bits can address.
(component (core module (memory i64 1)))
