;; Copies more of a data segment than there is.
(module
  (memory (export "memory") 1)
  (data $data "what shall we do with a drunken sailor?")
  (func (export "_start")
    (memory.init $data (i32.const 0) (i32.const 0) (i32.const 0xffffffff))))
