//! The functions of WASI preview 1, and a guest that calls them as it is told.

use std::fmt::Write as _;

/// Each function with its parameters, `i` for i32 and `I` for i64. All but `proc_exit` return an i32.
pub(crate) const FUNCTIONS: [(&str, &str); 45] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// Where the player puts its script, in its memory.
pub(crate) const SCRIPT: u32 = 1 << 16;
/// How much of a script is data that calls may point at.
pub(crate) const DATA: usize = 2048;
/// A call: the function's place, then its arguments, eight bytes each.
const CALL: usize = 80;
/// The most bytes of a script.
const LONGEST: usize = 1 << 17;

/// The text of a module that imports all functions; with `_start` and memory, but for their contents.
pub(crate) fn imports() -> String {
    let mut text = String::new();
    for (name, parameters) in FUNCTIONS {
        let types: String = parameters.chars().map(|kind| if kind == 'i' { " i32" } else { " i64" }).collect();
        let result = if name == "proc_exit" { "" } else { "(result i32)" };
        // Writing to a String does not fail.
        let _ = writeln!(text, "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{types}) {result}))");
    }
    text
}

/// A command that reads a script from its standard input and plays it: see [`Script`].
pub(crate) fn player() -> String {
    let mut steps = String::new();
    for (place, (name, parameters)) in FUNCTIONS.iter().enumerate() {
        let load = |(at, kind)| {
            let ty = if kind == 'i' { "i32" } else { "i64" };
            format!("({ty}.load offset={} (local.get $p))", 8 + 8 * at)
        };
        let arguments: String = parameters.chars().enumerate().map(load).collect();
        let call = format!("(call ${name} {arguments})");
        let call = if *name == "proc_exit" { call } else { format!("(drop {call})") };
        let _ =
            writeln!(steps, "(if (i32.eq (i32.load8_u (local.get $p)) (i32.const {place})) (then {call} (return)))");
    }
    format!(
        r#"(module {imports}
          (memory (export "memory") 4)
          (func $step (param $p i32) {steps})
          (func (export "_start") (local $p i32) (local $end i32)
            (i32.store (i32.const 0) (i32.const {SCRIPT}))
            (i32.store (i32.const 4) (i32.const {LONGEST}))
            (block $all (loop $more
              (br_if $all (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
              (br_if $all (i32.eqz (i32.load (i32.const 8))))
              (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.load (i32.const 8))))
              (i32.store (i32.const 4) (i32.sub (i32.load (i32.const 4)) (i32.load (i32.const 8))))
              (br $more)))
            (local.set $end (i32.load (i32.const 0)))
            (local.set $p (i32.const {first}))
            (loop $next
              (if (i32.le_u (i32.add (local.get $p) (i32.const {CALL})) (local.get $end))
                (then
                  (call $step (local.get $p))
                  (local.set $p (i32.add (local.get $p) (i32.const {CALL})))
                  (br $next))))))"#,
        imports = imports(),
        first = SCRIPT as usize + DATA,
    )
}

/// A command that copies its standard input to its standard output.
pub(crate) const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func (export "_start")
      (loop $more
        (i32.store (i32.const 0) (i32.const 1024))
        (i32.store (i32.const 4) (i32.const 4096))
        (if (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
        (if (i32.load (i32.const 8)) (then
          (i32.store (i32.const 4) (i32.load (i32.const 8)))
          (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))
          (br $more))))))"#;

/// What a player is told to call.
#[derive(Debug)]
pub(crate) struct Script {
    data: Vec<u8>,
    calls: Vec<u8>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self { data: Vec::new(), calls: Vec::new() }
    }

    /// Puts bytes where calls can point at them, and returns the address; there is room for [`DATA`] bytes in all.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> u32 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let address = self.data.len();
        assert!(address + bytes.len() <= DATA, "a script has too much data");
        self.data.extend(bytes);
        SCRIPT + u32::try_from(address).expect("data is small")
    }

    /// The next call.
    pub(crate) fn call(&mut self, name: &str, arguments: &[u64]) {
        let place = FUNCTIONS.iter().position(|(known, _)| *known == name).expect("the function is in the table");
        let start = self.calls.len();
        self.calls.extend((place as u64).to_le_bytes());
        self.calls.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        self.calls.resize(start + CALL, 0);
    }

    /// What the player reads.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.data.resize(DATA, 0);
        self.data.extend(self.calls);
        assert!(self.data.len() <= LONGEST, "a script is too long");
        self.data
    }
}
