;; component: is one, and has nothing to say.
(component)
