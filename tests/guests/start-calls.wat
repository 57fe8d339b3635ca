;; Calls WASI before its entry is called, when nothing is in place yet.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $start (loop $again (drop (call $random (i32.const 0) (i32.const 64))) (br $again)))
  (start $start)
  (func (export "_start")))
