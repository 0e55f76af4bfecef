;; component: wants a handle to something of somebody's.
(component (import "a:b/c" (instance (export "file" (type (sub resource))))))
