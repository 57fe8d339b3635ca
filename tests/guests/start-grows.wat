;; Grows its memory until that is refused and traps, before its entry is called.
(module
  (memory (export "memory") 1)
  (func $start
    (loop $again
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
      (br $again)))
  (start $start)
  (func (export "_start")))
