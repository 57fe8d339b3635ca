;; Calls itself for ever without any stack.
(module
  (memory (export "memory") 1)
  (func $again (return_call $again))
  (func (export "_start") (call $again)))
