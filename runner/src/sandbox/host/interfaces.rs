//! All that a guest can call, function by function.
//!
//! `bindgen!` would put these into a linker itself, but without a price. Names and types are those of `wit/`; a test
//! links a component that imports every one of them.

use super::bindings::longboat::algorithm::{inputs, process};
use super::bindings::wasi::cli::{environment, exit, stderr, stdin, stdout};
use super::bindings::wasi::cli::{terminal_input, terminal_output, terminal_stderr, terminal_stdin, terminal_stdout};
use super::bindings::wasi::filesystem::preopens;
use super::bindings::wasi::filesystem::types::{self, HostDescriptor, HostDirectoryEntryStream};
use super::bindings::wasi::io::error;
use super::bindings::wasi::io::streams::{HostInputStream, HostOutputStream};
use super::bindings::wasi::random::{insecure, insecure_seed, random};
use super::charge::Interface;
use super::{Host, attempt, clocks};
use wasmtime::component::Linker;

/// The version of WASI that the runner implements; linkers match compatible ones.
const WASI: &str = "0.2.12";
/// The version of Longboat's own interfaces.
const OWN: &str = "0.1.0";

/// Puts all interfaces into a linker; with `yields` their functions take turns with other guests.
///
/// # Errors
/// Only if two of the names collide, which tests would show.
pub(super) fn add(linker: &mut Linker<Host>, yields: bool) -> wasmtime::Result<()> {
    let mut interfaces = Interfaces { linker, yields };
    interfaces.cli()?;
    interfaces.terminals()?;
    interfaces.descriptors()?;
    interfaces.directories()?;
    interfaces.input_streams()?;
    interfaces.output_streams()?;
    interfaces.random()?;
    interfaces.algorithm()?;
    clocks::add_monotonic(&mut interfaces.wasi("clocks/monotonic-clock")?)?;
    clocks::add_wall(&mut interfaces.wasi("clocks/wall-clock")?)?;
    clocks::add_poll(&mut interfaces.wasi("io/poll")?)
}

struct Interfaces<'linker> {
    linker: &'linker mut Linker<Host>,
    yields: bool,
}

impl Interfaces<'_> {
    fn wasi(&mut self, name: &str) -> wasmtime::Result<Interface<'_>> {
        Interface::new(self.linker, &format!("wasi:{name}@{WASI}"), self.yields)
    }

    fn own(&mut self, name: &str) -> wasmtime::Result<Interface<'_>> {
        Interface::new(self.linker, &format!("longboat:algorithm/{name}@{OWN}"), self.yields)
    }

    fn cli(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("cli/environment")?;
        to.function("get-environment", |host, ()| environment::Host::get_environment(host))?;
        to.function("get-arguments", |host, ()| environment::Host::get_arguments(host))?;
        to.function("initial-cwd", |host, ()| environment::Host::initial_cwd(host))?;
        let mut to = self.wasi("cli/exit")?;
        to.procedure("exit", |host, (status,)| exit::Host::exit(host, status))?;
        to.procedure("exit-with-code", |host, (code,)| exit::Host::exit_with_code(host, code))?;
        self.wasi("cli/stdin")?.function("get-stdin", |host, ()| stdin::Host::get_stdin(host))?;
        self.wasi("cli/stdout")?.function("get-stdout", |host, ()| stdout::Host::get_stdout(host))?;
        self.wasi("cli/stderr")?.function("get-stderr", |host, ()| stderr::Host::get_stderr(host))
    }

    fn terminals(&mut self) -> wasmtime::Result<()> {
        self.wasi("cli/terminal-input")?.resource("terminal-input", terminal_input::HostTerminalInput::drop)?;
        self.wasi("cli/terminal-output")?.resource("terminal-output", terminal_output::HostTerminalOutput::drop)?;
        let mut to = self.wasi("cli/terminal-stdin")?;
        to.function("get-terminal-stdin", |host, ()| terminal_stdin::Host::get_terminal_stdin(host))?;
        let mut to = self.wasi("cli/terminal-stdout")?;
        to.function("get-terminal-stdout", |host, ()| terminal_stdout::Host::get_terminal_stdout(host))?;
        let mut to = self.wasi("cli/terminal-stderr")?;
        to.function("get-terminal-stderr", |host, ()| terminal_stderr::Host::get_terminal_stderr(host))
    }

    fn descriptors(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("filesystem/types")?;
        to.resource("descriptor", HostDescriptor::drop)?;
        to.function("[method]descriptor.read-via-stream", |host, (file, offset)| {
            HostDescriptor::read_via_stream(host, file, offset)
        })?;
        to.function("[method]descriptor.write-via-stream", |host, (file, offset)| {
            HostDescriptor::write_via_stream(host, file, offset)
        })?;
        to.function("[method]descriptor.append-via-stream", |host, (file,)| {
            HostDescriptor::append_via_stream(host, file)
        })?;
        to.function("[method]descriptor.advise", |host, (file, offset, length, advice)| {
            HostDescriptor::advise(host, file, offset, length, advice)
        })?;
        to.function("[method]descriptor.sync-data", |host, (file,)| HostDescriptor::sync_data(host, file))?;
        to.function("[method]descriptor.get-flags", |host, (file,)| HostDescriptor::get_flags(host, file))?;
        to.function("[method]descriptor.get-type", |host, (file,)| HostDescriptor::get_type(host, file))?;
        to.function("[method]descriptor.set-size", |host, (file, size)| HostDescriptor::set_size(host, file, size))?;
        to.function("[method]descriptor.set-times", |host, (file, accessed, modified)| {
            HostDescriptor::set_times(host, file, accessed, modified)
        })?;
        to.function("[method]descriptor.read", |host, (file, length, offset)| {
            HostDescriptor::read(host, file, length, offset)
        })?;
        to.function("[method]descriptor.write", |host, (file, bytes, offset)| {
            HostDescriptor::write(host, file, bytes, offset)
        })?;
        to.function("[method]descriptor.sync", |host, (file,)| HostDescriptor::sync(host, file))?;
        to.function("[method]descriptor.stat", |host, (file,)| HostDescriptor::stat(host, file))?;
        to.function("[method]descriptor.is-same-object", |host, (one, two)| {
            HostDescriptor::is_same_object(host, one, two)
        })?;
        to.function("[method]descriptor.metadata-hash", |host, (file,)| HostDescriptor::metadata_hash(host, file))?;
        to.resource("directory-entry-stream", HostDirectoryEntryStream::drop)?;
        to.function("[method]directory-entry-stream.read-directory-entry", |host, (listing,)| {
            HostDirectoryEntryStream::read_directory_entry(host, listing)
        })?;
        to.function("filesystem-error-code", |host, (error,)| types::Host::filesystem_error_code(host, error))?;
        let mut to = self.wasi("filesystem/preopens")?;
        to.function("get-directories", |host, ()| preopens::Host::get_directories(host))
    }

    fn directories(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("filesystem/types")?;
        to.function("[method]descriptor.read-directory", |host, (base,)| HostDescriptor::read_directory(host, base))?;
        to.function("[method]descriptor.create-directory-at", |host, (base, path)| {
            HostDescriptor::create_directory_at(host, base, path)
        })?;
        to.function("[method]descriptor.stat-at", |host, (base, flags, path)| {
            HostDescriptor::stat_at(host, base, flags, path)
        })?;
        to.function("[method]descriptor.set-times-at", |host, (base, flags, path, accessed, modified)| {
            HostDescriptor::set_times_at(host, base, flags, path, accessed, modified)
        })?;
        to.function("[method]descriptor.link-at", |host, (base, flags, path, to, new_path)| {
            HostDescriptor::link_at(host, base, flags, path, to, new_path)
        })?;
        to.function("[method]descriptor.open-at", |host, (base, flags, path, open, access)| {
            HostDescriptor::open_at(host, base, flags, path, open, access)
        })?;
        to.function("[method]descriptor.readlink-at", |host, (base, path)| {
            HostDescriptor::readlink_at(host, base, path)
        })?;
        to.function("[method]descriptor.remove-directory-at", |host, (base, path)| {
            HostDescriptor::remove_directory_at(host, base, path)
        })?;
        to.function("[method]descriptor.rename-at", |host, (from, path, to, new_path)| {
            HostDescriptor::rename_at(host, from, path, to, new_path)
        })?;
        to.function("[method]descriptor.symlink-at", |host, (base, path, new_path)| {
            HostDescriptor::symlink_at(host, base, path, new_path)
        })?;
        to.function("[method]descriptor.unlink-file-at", |host, (base, path)| {
            HostDescriptor::unlink_file_at(host, base, path)
        })?;
        to.function("[method]descriptor.metadata-hash-at", |host, (base, flags, path)| {
            HostDescriptor::metadata_hash_at(host, base, flags, path)
        })
    }

    fn input_streams(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("io/error")?;
        to.resource("error", error::HostError::drop)?;
        to.function("[method]error.to-debug-string", |host, (error,)| error::HostError::to_debug_string(host, error))?;
        let mut to = self.wasi("io/streams")?;
        to.resource("input-stream", HostInputStream::drop)?;
        to.function("[method]input-stream.read", |host, (stream, length)| HostInputStream::read(host, stream, length))?;
        to.function("[method]input-stream.blocking-read", |host, (stream, length)| {
            HostInputStream::blocking_read(host, stream, length)
        })?;
        to.function("[method]input-stream.skip", |host, (stream, length)| HostInputStream::skip(host, stream, length))?;
        to.function("[method]input-stream.blocking-skip", |host, (stream, length)| {
            HostInputStream::blocking_skip(host, stream, length)
        })?;
        to.function("[method]input-stream.subscribe", |host, (stream,)| HostInputStream::subscribe(host, stream))
    }

    fn output_streams(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("io/streams")?;
        to.resource("output-stream", HostOutputStream::drop)?;
        to.function("[method]output-stream.check-write", |host, (stream,)| {
            HostOutputStream::check_write(host, stream)
        })?;
        to.function("[method]output-stream.write", |host, (stream, bytes)| {
            HostOutputStream::write(host, stream, bytes)
        })?;
        to.function("[method]output-stream.blocking-write-and-flush", |host, (stream, bytes)| {
            HostOutputStream::blocking_write_and_flush(host, stream, bytes)
        })?;
        to.function("[method]output-stream.flush", |host, (stream,)| HostOutputStream::flush(host, stream))?;
        to.function("[method]output-stream.blocking-flush", |host, (stream,)| {
            HostOutputStream::blocking_flush(host, stream)
        })?;
        to.function("[method]output-stream.subscribe", |host, (stream,)| HostOutputStream::subscribe(host, stream))?;
        to.function("[method]output-stream.write-zeroes", |host, (stream, length)| {
            HostOutputStream::write_zeroes(host, stream, length)
        })?;
        to.function("[method]output-stream.blocking-write-zeroes-and-flush", |host, (stream, length)| {
            HostOutputStream::blocking_write_zeroes_and_flush(host, stream, length)
        })?;
        to.function("[method]output-stream.splice", |host, (stream, source, length)| {
            HostOutputStream::splice(host, stream, source, length)
        })?;
        to.function("[method]output-stream.blocking-splice", |host, (stream, source, length)| {
            HostOutputStream::blocking_splice(host, stream, source, length)
        })
    }

    fn random(&mut self) -> wasmtime::Result<()> {
        let mut to = self.wasi("random/random")?;
        to.function("get-random-bytes", |host, (length,)| random::Host::get_random_bytes(host, length))?;
        to.function("get-random-u64", |host, ()| random::Host::get_random_u64(host))?;
        let mut to = self.wasi("random/insecure")?;
        to.function("get-insecure-random-bytes", |host, (length,)| {
            insecure::Host::get_insecure_random_bytes(host, length)
        })?;
        to.function("get-insecure-random-u64", |host, ()| insecure::Host::get_insecure_random_u64(host))?;
        self.wasi("random/insecure-seed")?
            .function("insecure-seed", |host, ()| insecure_seed::Host::insecure_seed(host))
    }

    fn algorithm(&mut self) -> wasmtime::Result<()> {
        let mut to = self.own("inputs")?;
        to.resource("input", inputs::HostInput::drop)?;
        to.function("[method]input.name", |host, (input,)| inputs::HostInput::name(host, input))?;
        to.function("[method]input.size", |host, (input,)| inputs::HostInput::size(host, input))?;
        to.function("[method]input.open", |host, (input,)| inputs::HostInput::open(host, input))?;
        to.function("all", |host, ()| inputs::Host::all(host))?;
        self.own("process")?.procedure("exit", |host, (code,)| process::Host::exit(host, code))?;
        attempt::add(&mut self.own("attempt")?)
    }
}
