;; A component that takes handles and never gives one back.
(component
  (import "wasi:io/streams@0.2.12" (instance $streams (export "output-stream" (type (sub resource)))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stderr@0.2.12" (instance $stderr
    (alias outer 1 $output (type $outer))
    (export "output-stream" (type $stream (eq $outer)))
    (export "get-stderr" (func (result (own $stream))))))
  (core func $get (canon lower (func $stderr "get-stderr")))
  (core module $module
    (import "host" "get" (func $get (result i32)))
    (func (export "run") (result i32)
      (loop $again (drop (call $get)) (br $again))
      unreachable))
  (core instance $host (export "get" (func $get)))
  (core instance $main (instantiate $module (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.12" (instance $command)))
