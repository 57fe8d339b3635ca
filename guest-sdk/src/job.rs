//! The job as the algorithm sees it.

use crate::{Failure, Input};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One request to run the algorithm, with its params already read into `P`.
#[derive(Debug)]
pub struct Job<P> {
    /// The job's UUID, hyphenated.
    pub id: String,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// What the submitter asked for.
    pub params: P,
    /// Where all randomness should come from: the same seed must give the same result.
    pub seed: u64,
    /// What this attempt may use.
    pub limits: Limits,
    pub(crate) world: World,
}

/// What an attempt may use; sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Units of fuel; roughly one a WebAssembly instruction.
    pub fuel: u64,
    /// All linear memories and tables together.
    pub memory: u64,
    /// Everything in the result directory.
    pub result_size: u64,
    /// Entries in the result directory, directories included.
    pub result_files: u32,
    /// The result as JSON text.
    pub document_size: u64,
    /// What is kept of standard error.
    pub log_size: u64,
    /// All inputs together.
    pub input_size: u64,
    /// Wall-clock time in milliseconds, the fetching of inputs included.
    pub ttr_ms: u64,
}

/// Where inputs come from and files go to.
#[derive(Debug)]
pub(crate) enum World {
    #[cfg(target_family = "wasm")]
    Host(BTreeMap<String, crate::bindings::longboat::algorithm::inputs::Input>),
    Native {
        inputs: BTreeMap<String, Vec<u8>>,
        result_dir: PathBuf,
    },
}

impl<P> Job<P> {
    /// A job for a native test: no inputs, seed 0, attempt 1, the default limits, and the current directory
    /// as its result directory.
    pub fn native(params: P) -> Self {
        Self {
            id: "00000000-0000-4000-8000-000000000000".to_owned(),
            attempt: 1,
            params,
            seed: 0,
            limits: Limits {
                fuel: 10_000_000_000,
                memory: 256 << 20,
                result_size: 64 << 20,
                result_files: 1_000,
                document_size: 8 << 20,
                log_size: 1 << 20,
                input_size: 256 << 20,
                ttr_ms: 60_000,
            },
            world: World::Native { inputs: BTreeMap::new(), result_dir: PathBuf::from(".") },
        }
    }

    /// Adds an input; for native tests.
    ///
    /// # Panics
    /// In the sandbox, where inputs come from the runner.
    #[must_use]
    pub fn with_input(mut self, name: &str, body: impl Into<Vec<u8>>) -> Self {
        self.native_world().0.insert(name.to_owned(), body.into());
        self
    }

    /// Sets the result directory; for native tests.
    ///
    /// # Panics
    /// In the sandbox, where the result directory comes from the runner.
    #[must_use]
    pub fn with_result_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        *self.native_world().1 = dir.into();
        self
    }

    /// Sets the seed; for native tests.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Opens the input: the one named `input`, or the only one.
    ///
    /// # Errors
    /// A permanent failure if the job has no input, or several and none of that name.
    pub fn input(&self) -> Result<Input, Failure> {
        let names: Vec<_> = self.input_names().collect();
        match names.as_slice() {
            [] => Err(Failure::permanent("this algorithm needs an input, and the job names none")),
            [only] => self.input_named(only),
            names if names.contains(&"input") => self.input_named("input"),
            names => {
                Err(Failure::permanent(format!("none of the job's inputs ({}) is named `input`", names.join(", "))))
            }
        }
    }

    /// Opens the input of that name.
    ///
    /// # Errors
    /// A permanent failure if the job has no such input.
    pub fn input_named(&self, name: &str) -> Result<Input, Failure> {
        let input = match &self.world {
            #[cfg(target_family = "wasm")]
            World::Host(inputs) => inputs.get(name).map(Input::host),
            World::Native { inputs, .. } => inputs.get(name).cloned().map(Input::native),
        };
        input.ok_or_else(|| Failure::permanent(format!("the job has no input named `{name}`")))
    }

    /// The names of all inputs, in order.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        match &self.world {
            #[cfg(target_family = "wasm")]
            World::Host(inputs) => inputs.keys().map(String::as_str).collect::<Vec<_>>().into_iter(),
            World::Native { inputs, .. } => inputs.keys().map(String::as_str).collect::<Vec<_>>().into_iter(),
        }
    }

    /// The directory whose files are published with the result.
    pub fn result_dir(&self) -> &Path {
        match &self.world {
            #[cfg(target_family = "wasm")]
            World::Host(_) => Path::new("/result"),
            World::Native { result_dir, .. } => result_dir,
        }
    }

    /// Tells whoever watches how far the work has come: a fraction from 0 to 1 and a few words.
    pub fn progress(&self, fraction: f64, message: &str) {
        match &self.world {
            #[cfg(target_family = "wasm")]
            World::Host(_) => crate::bindings::longboat::algorithm::attempt::progress(fraction, message),
            World::Native { .. } => {
                let _ = (fraction, message);
            }
        }
    }

    /// The units of fuel that are left; natively always the whole limit.
    pub fn fuel_left(&self) -> u64 {
        match &self.world {
            #[cfg(target_family = "wasm")]
            World::Host(_) => crate::bindings::longboat::algorithm::attempt::fuel_left(),
            World::Native { .. } => self.limits.fuel,
        }
    }

    fn native_world(&mut self) -> (&mut BTreeMap<String, Vec<u8>>, &mut PathBuf) {
        match &mut self.world {
            #[cfg(target_family = "wasm")]
            World::Host(_) => panic!("in the sandbox the runner provides inputs and result directory"),
            World::Native { inputs, result_dir } => (inputs, result_dir),
        }
    }
}
