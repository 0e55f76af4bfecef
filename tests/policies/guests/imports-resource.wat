;; component: wants a handle to something.
(component (import "files" (type (sub resource))))
