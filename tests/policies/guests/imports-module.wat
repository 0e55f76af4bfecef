;; component: wants code that it did not bring.
(component (import "code" (core module)))
