//! What `bindgen!` makes of the `host` world.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "host",
    imports: { default: trappable },
    trappable_error_type: {
        "wasi:io/streams.stream-error" => crate::sandbox::host::io::StreamError,
        "wasi:filesystem/types.error-code" => crate::sandbox::tree::TreeError,
    },
    with: {
        "wasi:io/error.error": crate::sandbox::host::io::IoError,
        "wasi:io/poll.pollable": crate::sandbox::host::io::Pollable,
        "wasi:io/streams.input-stream": crate::sandbox::host::io::InputStream,
        "wasi:io/streams.output-stream": crate::sandbox::host::io::OutputStream,
        "wasi:filesystem/types.descriptor": crate::sandbox::host::filesystem::Descriptor,
        "wasi:filesystem/types.directory-entry-stream": crate::sandbox::host::filesystem::Listing,
        "wasi:cli/terminal-input.terminal-input": crate::sandbox::host::cli::Terminal,
        "wasi:cli/terminal-output.terminal-output": crate::sandbox::host::cli::Terminal,
        "longboat:algorithm/inputs.input": crate::sandbox::host::attempt::InputHandle,
    },
    require_store_data_send: true,
});
