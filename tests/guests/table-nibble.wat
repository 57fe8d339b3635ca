;; Asks for a larger table for ever, however often that is refused.
(module
  (memory (export "memory") 1)
  (table $table 1 funcref)
  (func (export "_start")
    (loop $again
      (drop (table.grow $table (ref.null func) (i32.const 0x7fffffff)))
      (br $again))))
