//! WASI preview 1, for commands that are core modules.
//!
//! The functions of `wasi_snapshot_preview1` work on the same tree, streams, clocks and random numbers as
//! the interfaces of components, at the same prices. A bad pointer is answered with `EFAULT`.

mod files;

pub(super) use files::Descriptors;

use super::charge::settle;
use super::clocks::MAX_POLLED;
use super::io::MAX_CHUNK;
use super::{ARGUMENTS, Exit, Host};
use crate::sandbox::tree::{HostFault, TreeError};
use crate::sandbox::turns;
use chacha20::rand_core::Rng as _;
use wasmtime::{AsContextMut as _, Caller, Extern, Linker, Memory};

/// The module that core modules import WASI from.
pub(in crate::sandbox) const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The most buffers of one scattered read or gathered write.
const MAX_VECTORS: u32 = 1024;
/// Sizes of a subscription and of an event, in bytes.
const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// The error numbers that guests get. The values are preview 1's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Errno {
    Acces = 2,
    Badf = 8,
    Dquot = 19,
    Exist = 20,
    Fault = 21,
    Ilseq = 25,
    Inval = 28,
    Isdir = 31,
    Mfile = 33,
    Nametoolong = 37,
    Noent = 44,
    Nospc = 51,
    Notdir = 54,
    Notempty = 55,
    Notsup = 58,
    Perm = 63,
    Spipe = 70,
}

/// Why a function did not do what it was asked for.
#[derive(Debug)]
enum Failure {
    /// The guest is told.
    Errno(Errno),
    /// The guest ends.
    End(wasmtime::Error),
}

type Outcome<T = ()> = Result<T, Failure>;

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Failure::Errno(errno)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Failure::End(error)
    }
}

impl From<TreeError> for Failure {
    fn from(error: TreeError) -> Self {
        Failure::Errno(match error {
            TreeError::NoEntry => Errno::Noent,
            TreeError::Exist => Errno::Exist,
            TreeError::NotDirectory => Errno::Notdir,
            TreeError::IsDirectory => Errno::Isdir,
            TreeError::NotEmpty => Errno::Notempty,
            TreeError::Invalid => Errno::Inval,
            TreeError::NotPermitted => Errno::Perm,
            TreeError::NameTooLong => Errno::Nametoolong,
            TreeError::IllegalName => Errno::Ilseq,
            TreeError::InsufficientSpace => Errno::Nospc,
            TreeError::Quota => Errno::Dquot,
            TreeError::Io(kind) => return Failure::End(HostFault(kind).into()),
        })
    }
}

/// One call of a guest, with the guest's memory.
struct Call<'a> {
    caller: Caller<'a, Host>,
    memory: Memory,
}

impl<'a> Call<'a> {
    /// A call, which is owed for.
    fn begin(mut caller: Caller<'a, Host>) -> wasmtime::Result<Self> {
        let memory = match caller.data_mut().called().memory {
            Some(memory) => memory,
            None => {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    wasmtime::bail!("it exports no memory");
                };
                caller.data_mut().memory = Some(memory);
                memory
            }
        };
        Ok(Self { caller, memory })
    }

    /// Answers the guest.
    fn end(self, outcome: Outcome) -> wasmtime::Result<i32> {
        match outcome {
            Ok(()) => Ok(0),
            Err(Failure::Errno(errno)) => Ok(errno as i32),
            Err(Failure::End(error)) => Err(error),
        }
    }

    /// Pays within a long call, and gives the thread away.
    async fn rest(&mut self) -> wasmtime::Result<()> {
        settle(&mut self.caller.as_context_mut())?;
        turns::give_way().await;
        Ok(())
    }

    /// Owes the price of so many bytes.
    fn pay(&mut self, bytes: u32) {
        self.host().moved(bytes as usize);
    }

    fn host(&mut self) -> &mut Host {
        self.caller.data_mut()
    }

    /// The guest's memory, and the host.
    fn parts(&mut self) -> (&mut [u8], &mut Host) {
        self.memory.data_and_store_mut(&mut self.caller)
    }

    fn memory(&mut self) -> &mut [u8] {
        self.parts().0
    }

    fn put_u32(&mut self, at: u32, value: u32) -> Outcome {
        put(self.memory(), at, &value.to_le_bytes())
    }

    fn put_u64(&mut self, at: u32, value: u64) -> Outcome {
        put(self.memory(), at, &value.to_le_bytes())
    }

    fn sizes(&mut self, strings: impl Fn(&Host) -> Vec<Vec<u8>>, count: u32, size: u32) -> Outcome {
        let strings = strings(self.host());
        let total: usize = strings.iter().map(Vec::len).sum();
        self.put_u32(count, strings.len() as u32)?;
        self.put_u32(size, total as u32)
    }

    /// Writes strings one after the other, and a pointer to each.
    fn strings(&mut self, strings: impl Fn(&Host) -> Vec<Vec<u8>>, mut pointers: u32, mut at: u32) -> Outcome {
        for string in strings(self.host()) {
            let length = string.len() as u32;
            self.pay(length);
            self.put_u32(pointers, at)?;
            put(self.memory(), at, &string)?;
            pointers = pointers.checked_add(4).ok_or(Errno::Fault)?;
            at = at.checked_add(length).ok_or(Errno::Fault)?;
        }
        Ok(())
    }

    /// The time that a clock shows, in nanoseconds.
    fn time(&mut self, clock: u32) -> Outcome<u64> {
        let now = self.host().monotonic_time();
        match clock {
            0 => Ok(self.host().wall_time(now)),
            1 => Ok(now),
            _ => Err(Errno::Inval.into()),
        }
    }

    fn clock_res_get(&mut self, clock: u32, resolution: u32) -> Outcome {
        self.time(clock)?;
        self.put_u64(resolution, 1)
    }

    fn clock_time_get(&mut self, clock: u32, time: u32) -> Outcome {
        let now = self.time(clock)?;
        self.put_u64(time, now)
    }

    async fn random_get(&mut self, mut at: u32, mut length: u32) -> Outcome {
        slice(self.memory(), at, length)?;
        while length > 0 {
            let piece = length.min(MAX_CHUNK as u32);
            let (memory, host) = self.parts();
            host.random.fill_bytes(slice(memory, at, piece)?);
            (at, length) = (at + piece, length - piece);
            self.pay(piece);
            if length > 0 {
                self.rest().await?;
            }
        }
        Ok(())
    }

    /// Waits until one of `count` subscriptions is ready, and tells of those that are.
    async fn poll_oneoff(&mut self, wanted: u32, events: u32, count: u32, rang: u32) -> Outcome {
        if count == 0 || count as usize > MAX_POLLED {
            return Err(Errno::Inval.into());
        }
        self.pay(count * (SUBSCRIPTION + EVENT));
        slice(self.memory(), events, count * EVENT)?;
        slice(self.memory(), wanted, count * SUBSCRIPTION)?;
        let mut waiting = Vec::with_capacity(count as usize);
        for place in 0..count {
            waiting.push(self.subscription(wanted + place * SUBSCRIPTION)?);
        }
        let first = waiting.iter().map(|waiting| waiting.ready_at).min().unwrap_or(0);
        self.host().sleep_until(first).await;
        let now = self.host().monotonic_time();
        let mut ready = 0;
        for waiting in waiting.iter().filter(|waiting| waiting.ready_at <= now) {
            put(self.memory(), events + ready * EVENT, &waiting.event())?;
            ready += 1;
        }
        self.put_u32(rang, ready)
    }

    fn subscription(&mut self, at: u32) -> Outcome<Waiting> {
        let subscription: [u8; SUBSCRIPTION as usize] = get(self.memory(), at)?;
        let word = |place: usize| u64::from_le_bytes(std::array::from_fn(|byte| subscription[place + byte]));
        let (user_data, tag, number, timeout) = (word(0), subscription[8], word(16) as u32, word(24));
        let is_absolute = subscription[40] & 1 == 1;
        let mut waiting = Waiting { user_data, tag, ready_at: 0, bytes: 0, errno: 0 };
        let asked = if tag == 0 {
            self.time(number).map(|shown| {
                let left = if is_absolute { timeout.saturating_sub(shown) } else { timeout };
                waiting.ready_at = self.host().monotonic_time().saturating_add(left);
            })
        } else {
            self.host().bytes_at_once(number).map(|bytes| waiting.bytes = bytes)
        };
        match asked {
            Err(Failure::Errno(errno)) => waiting.errno = errno as u16,
            asked => asked?,
        }
        Ok(waiting)
    }
}

/// What a guest waits for: a clock, or a descriptor, which is always ready.
struct Waiting {
    user_data: u64,
    tag: u8,
    /// By the monotonic clock.
    ready_at: u64,
    bytes: u64,
    errno: u16,
}

impl Waiting {
    fn event(&self) -> [u8; EVENT as usize] {
        let mut event = [0; EVENT as usize];
        event[..8].copy_from_slice(&self.user_data.to_le_bytes());
        event[8..10].copy_from_slice(&self.errno.to_le_bytes());
        event[10] = self.tag;
        event[16..24].copy_from_slice(&self.bytes.to_le_bytes());
        event
    }
}

/// A part of the guest's memory.
fn slice(memory: &mut [u8], at: u32, length: u32) -> Outcome<&mut [u8]> {
    let (at, length) = (at as usize, length as usize);
    let end = at.checked_add(length).ok_or(Errno::Fault)?;
    Ok(memory.get_mut(at..end).ok_or(Errno::Fault)?)
}

fn get<const N: usize>(memory: &[u8], at: u32) -> Outcome<[u8; N]> {
    let bytes = memory.get(at as usize..).and_then(|rest| rest.first_chunk());
    Ok(*bytes.ok_or(Errno::Fault)?)
}

fn put(memory: &mut [u8], at: u32, bytes: &[u8]) -> Outcome {
    let place = memory.get_mut(at as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
    place.ok_or(Errno::Fault)?.copy_from_slice(bytes);
    Ok(())
}

fn arguments(_: &Host) -> Vec<Vec<u8>> {
    ARGUMENTS.iter().map(|argument| format!("{argument}\0").into_bytes()).collect()
}

fn environment(host: &Host) -> Vec<Vec<u8>> {
    host.environment.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

/// Functions that answer with an error number, each with what it does in a call.
macro_rules! functions {
    ($linker:ident, $call:ident; $($name:ident($($argument:ident: $type:ty),*) => $work:expr;)*) => {
        $($linker.func_wrap_async(
            PREVIEW1,
            stringify!($name),
            |caller: Caller<'_, Host>, ($($argument,)*): ($($type,)*)| {
                Box::new(async move {
                    #[allow(unused_mut, reason = "some functions only answer")]
                    let mut $call = Call::begin(caller)?;
                    let outcome: Outcome = $work;
                    $call.end(outcome)
                })
            },
        )?;)*
    };
}

/// Puts preview 1 into a linker.
///
/// # Errors
/// Only if two of the functions have one name.
pub(super) fn add(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    functions! { linker, call;
        args_get(pointers: u32, at: u32) => call.strings(arguments, pointers, at);
        args_sizes_get(count: u32, size: u32) => call.sizes(arguments, count, size);
        environ_get(pointers: u32, at: u32) => call.strings(environment, pointers, at);
        environ_sizes_get(count: u32, size: u32) => call.sizes(environment, count, size);
        clock_res_get(clock: u32, resolution: u32) => call.clock_res_get(clock, resolution);
        clock_time_get(clock: u32, _precision: u64, time: u32) => call.clock_time_get(clock, time);
        poll_oneoff(wanted: u32, events: u32, count: u32, rang: u32)
            => call.poll_oneoff(wanted, events, count, rang).await;
        random_get(at: u32, length: u32) => call.random_get(at, length).await;
        sched_yield() => Ok(());
        proc_raise(_signal: u32) => Err(Errno::Notsup.into());
        sock_accept(_socket: u32, _flags: u32, _accepted: u32) => Err(Errno::Acces.into());
        sock_recv(_socket: u32, _list: u32, _count: u32, _flags: u32, _size: u32, _out: u32)
            => Err(Errno::Acces.into());
        sock_send(_socket: u32, _list: u32, _count: u32, _flags: u32, _size: u32) => Err(Errno::Acces.into());
        sock_shutdown(_socket: u32, _how: u32) => Err(Errno::Acces.into());
    }
    linker.func_wrap(PREVIEW1, "proc_exit", |mut caller: Caller<'_, Host>, code: u32| -> wasmtime::Result<()> {
        caller.data_mut().called();
        Err(Exit(code).into())
    })?;
    add_files(linker)?;
    add_paths(linker)
}

fn add_files(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    functions! { linker, call;
        fd_advise(fd: u32, _offset: u64, _length: u64, _advice: u32) => call.host().entry(fd).map(drop);
        fd_allocate(_fd: u32, _offset: u64, _length: u64) => Err(Errno::Notsup.into());
        fd_close(fd: u32) => call.host().close(fd);
        fd_datasync(fd: u32) => call.host().entry(fd).map(drop);
        fd_fdstat_get(fd: u32, at: u32) => call.fd_fdstat_get(fd, at);
        fd_fdstat_set_flags(fd: u32, flags: u32) => call.fd_fdstat_set_flags(fd, flags);
        fd_fdstat_set_rights(_fd: u32, _base: u64, _inheriting: u64) => Err(Errno::Notsup.into());
        fd_filestat_get(fd: u32, at: u32) => call.fd_filestat_get(fd, at);
        fd_filestat_set_size(fd: u32, size: u64) => call.fd_filestat_set_size(fd, size);
        fd_filestat_set_times(_fd: u32, _accessed: u64, _modified: u64, _flags: u32) => Err(Errno::Perm.into());
        fd_pread(fd: u32, list: u32, count: u32, offset: u64, size: u32)
            => call.read(fd, (list, count), Some(offset), size).await;
        fd_prestat_get(fd: u32, at: u32) => call.fd_prestat_get(fd, at);
        fd_prestat_dir_name(fd: u32, at: u32, length: u32) => call.fd_prestat_dir_name(fd, at, length);
        fd_pwrite(fd: u32, list: u32, count: u32, offset: u64, size: u32)
            => call.write(fd, (list, count), Some(offset), size).await;
        fd_read(fd: u32, list: u32, count: u32, size: u32) => call.read(fd, (list, count), None, size).await;
        fd_readdir(fd: u32, at: u32, length: u32, cookie: u64, used: u32)
            => call.fd_readdir(fd, (at, length), cookie, used);
        fd_renumber(fd: u32, to: u32) => call.host().renumber(fd, to);
        fd_seek(fd: u32, by: i64, from: u32, place: u32) => call.fd_seek(fd, by, from, place);
        fd_sync(fd: u32) => call.host().entry(fd).map(drop);
        fd_tell(fd: u32, place: u32) => call.fd_seek(fd, 0, 1, place);
        fd_write(fd: u32, list: u32, count: u32, size: u32) => call.write(fd, (list, count), None, size).await;
    }
    Ok(())
}

fn add_paths(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    functions! { linker, call;
        path_create_directory(fd: u32, at: u32, length: u32) => call.path_create_directory(fd, (at, length));
        path_filestat_get(fd: u32, _follow: u32, at: u32, length: u32, stat: u32)
            => call.path_filestat_get(fd, (at, length), stat);
        path_filestat_set_times(fd: u32, _follow: u32, at: u32, length: u32, _a: u64, _m: u64, _flags: u32)
            => call.not_permitted(fd, (at, length));
        path_link(fd: u32, _follow: u32, at: u32, length: u32, _to: u32, _new: u32, _new_length: u32)
            => call.not_permitted(fd, (at, length));
        path_open(fd: u32, _follow: u32, at: u32, length: u32, how: u32, base: u64, _inheriting: u64, flags: u32,
            opened: u32) => call.path_open(fd, (at, length), how, (base, flags), opened);
        path_readlink(fd: u32, at: u32, length: u32, _to: u32, _size: u32, _used: u32)
            => call.path_readlink(fd, (at, length));
        path_remove_directory(fd: u32, at: u32, length: u32) => call.path_remove_directory(fd, (at, length));
        path_rename(fd: u32, at: u32, length: u32, to: u32, new: u32, new_length: u32)
            => call.path_rename((fd, at, length), (to, new, new_length));
        path_symlink(_at: u32, _length: u32, _fd: u32, _new: u32, _new_length: u32) => Err(Errno::Perm.into());
        path_unlink_file(fd: u32, at: u32, length: u32) => call.path_unlink_file(fd, (at, length));
    }
    Ok(())
}
