;; Two functions call each other through a table for ever.
(module
  (type $step (func (param i64) (result i64)))
  (memory (export "memory") 1)
  (table funcref (elem $tick $tock))
  (func $tick (type $step)
    (i64.add (i64.const 1) (call_indirect (type $step) (i64.add (local.get 0) (i64.const 1)) (i32.const 1))))
  (func $tock (type $step)
    (i64.mul (i64.const 3) (call_indirect (type $step) (i64.add (local.get 0) (i64.const 1)) (i32.const 0))))
  (func (export "_start") (drop (call $tick (i64.const 0)))))
