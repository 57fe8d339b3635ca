;; Grows four memories in turn, none of them far, until one is refused, and traps.
(module
  (memory (export "memory") 1)
  (memory $second 1)
  (memory $third 1)
  (memory $fourth 1)
  (func (export "_start")
    (loop $again
      (if (i32.eq (memory.grow 0 (i32.const 16)) (i32.const -1)) (then unreachable))
      (if (i32.eq (memory.grow $second (i32.const 16)) (i32.const -1)) (then unreachable))
      (if (i32.eq (memory.grow $third (i32.const 16)) (i32.const -1)) (then unreachable))
      (if (i32.eq (memory.grow $fourth (i32.const 16)) (i32.const -1)) (then unreachable))
      (br $again))))
