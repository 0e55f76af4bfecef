;; component: the right name and version, and under them a function of another type.
(component
  (core module $m (func (export "place") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func $place (result u32) (canon lift (core func $i "place")))
  (instance $placer (export "place" (func $place)))
  (export "polder:policy/placer@0.2.0" (instance $placer)))
