;; Declares a memory of 512 MiB, which is more than most jobs ask for.
(module
  (memory (export "memory") 8192)
  (func (export "_start")))
