;; Branches for ever without a call or a loop's body.
(module
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $outer
      (loop $inner (br_table $inner $outer $inner (i32.const 1))))))
