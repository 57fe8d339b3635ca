;; Declares a memory of 4 GiB, which is more than any operator allows here.
(module
  (memory (export "memory") 65536)
  (func (export "_start")))
