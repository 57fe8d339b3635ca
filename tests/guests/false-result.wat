;; A component whose result is a text of 4 GiB that lies nowhere.
(component
  (type $interface (instance
    (type $limits (record
      (field "fuel" u64) (field "memory" u64) (field "result-size" u64) (field "result-files" u32)
      (field "document-size" u64) (field "log-size" u64) (field "input-size" u64) (field "ttr-ms" u64)))
    (export "limits" (type $named-limits (eq $limits)))
    (type $job (record
      (field "id" string) (field "attempt" u32) (field "params" string) (field "seed" u64)
      (field "limits" $named-limits)))
    (export "job" (type (eq $job)))
    (type $error (record (field "message" string) (field "permanent" bool)))
    (export "error" (type (eq $error)))))
  (import "longboat:algorithm/attempt@0.1.0" (instance $attempt (type $interface)))
  (alias export $attempt "job" (type $job))
  (alias export $attempt "error" (type $error))
  (core module $module
    (memory (export "memory") 1)
    ;; An `ok` at 8, whose text is at 0xfffffff0 and has 0xffffffff bytes.
    (data (i32.const 12) "\f0\ff\ff\ff\ff\ff\ff\ff")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "run")
      (param i32 i32 i32 i32 i32 i64 i64 i64 i64 i32 i64 i64 i64 i64) (result i32)
      (i32.const 8)))
  (core instance $main (instantiate $module))
  (type $run-type (func (param "job" $job) (result (result string (error $error)))))
  (func $run (type $run-type)
    (canon lift (core func $main "run") (memory (core memory $main "memory"))
      (realloc (core func $main "realloc"))))
  (export "run" (func $run)))
