//! What the sandbox adds to metered compute: the same modules in it and under plain wasmtime that counts the same.
//!
//! Five C kernels, whole programs from `_start` to their end. Plain wasmtime never gives its thread away: it is what
//! counting alone costs. The algorithms' own kernels, which are components, are compared in the bench `kernels`.

use anyhow::{Context, ensure};
use criterion::{Criterion, criterion_group, criterion_main};
use longboat::config::NanBits;
use longboat::sandbox::Metering;
use longboat_benches::contest::{self, Contender, geometric_mean};
use longboat_benches::guest::{self, Guests};
use longboat_benches::table;
use longboat_tests::workspace;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use wasmtime::{Caller, Config, Engine, Instance, Linker, Module, Store};

const ROUNDS: usize = 15;
const KERNELS: [&str; 5] = ["nbody", "sieve", "matrix", "hash", "fib"];

/// Compiles one of `guests/kernels.c`.
fn compile(kernel: &str, directory: &Path) -> anyhow::Result<PathBuf> {
    let module = directory.join(kernel).with_extension("wasm");
    let mut compiler = Command::new("clang-14");
    compiler.args(["--target=wasm32-wasi", "-O3", "-msimd128", &format!("-DKERNEL={kernel}"), "-o"]).arg(&module);
    let status = compiler.arg(workspace().join("benches/guests/kernels.c")).status().context("running clang failed")?;
    ensure!(status.success(), "clang could not make {kernel}");
    Ok(module)
}

/// wasmtime as it is configured by default, counting fuel, and epochs if asked to.
struct Plain {
    engine: Engine,
    epoch: bool,
}

impl Plain {
    fn new(epoch: bool) -> anyhow::Result<Self> {
        Ok(Self { engine: Engine::new(Config::new().consume_fuel(true).epoch_interruption(epoch))?, epoch })
    }

    /// What runs a module once. Its writes go nowhere, and every other function of WASI answers 0.
    fn runner(&self, module: &Path) -> anyhow::Result<impl Fn() -> wasmtime::Result<()> + use<>> {
        let module = Module::from_file(&self.engine, module)?;
        let (engine, epoch) = (self.engine.clone(), self.epoch);
        Ok(move || {
            let mut store = Store::new(&engine, ());
            store.set_fuel(u64::MAX)?;
            if epoch {
                store.set_epoch_deadline(u64::MAX / 2);
            }
            let mut linker = Linker::new(&engine);
            linker.func_wrap("wasi_snapshot_preview1", "fd_write", write)?;
            linker.define_unknown_imports_as_default_values(&mut store, &module)?;
            let instance: Instance = linker.instantiate(&mut store, &module)?;
            instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())
        })
    }
}

fn write(mut caller: Caller<'_, ()>, _: i32, list: u32, count: u32, written: u32) -> wasmtime::Result<i32> {
    let Some(memory) = caller.get_export("memory").and_then(wasmtime::Extern::into_memory) else {
        wasmtime::bail!("it exports no memory");
    };
    let mut sum = 0;
    for place in 0..count as usize {
        let mut length = [0; 4];
        memory.read(&caller, list as usize + 8 * place + 4, &mut length)?;
        sum += u32::from_le_bytes(length);
    }
    memory.write(&mut caller, written as usize, &sum.to_le_bytes())?;
    Ok(0)
}

fn measure(_: &mut Criterion) {
    compare().expect("a bench needs its compilers and its disk");
}

fn compare() -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let scratch = guest::open(&tempfile::tempdir_in(&directory)?.keep())?;
    let (fuel, both) = (Plain::new(false)?, Plain::new(true)?);
    let (at_slices, in_guest) =
        (Guests::new(Metering::AT_SLICES, NanBits::Platform)?, Guests::new(Metering::IN_GUEST, NanBits::Platform)?);
    let (mut rows, mut ratios) = (Vec::new(), [Vec::new(), Vec::new()]);
    for kernel in KERNELS {
        let module = compile(kernel, directory.path())?;
        let (plain_fuel, plain_both) = (fuel.runner(&module)?, both.runner(&module)?);
        let (sliced, checked) = (at_slices.compile(&module)?, in_guest.compile(&module)?);
        let run = || guest::run("{}", None, &scratch);
        let mut contenders = [
            Contender::new("fuel", || plain_fuel().expect("the kernel runs")),
            Contender::new("at-slices", || drop(at_slices.run(&sliced, run()))),
            Contender::new("fuel and epoch", || plain_both().expect("the kernel runs")),
            Contender::new("in-guest", || drop(in_guest.run(&checked, run()))),
        ];
        let times = contest::in_turn(ROUNDS, &mut contenders);
        let own = [times[1].ratio_to(&times[0]), times[3].ratio_to(&times[2])];
        ratios.iter_mut().zip(own).for_each(|(all, own)| all.push(own));
        let seconds = |place: usize| table::seconds(times[place].median());
        rows.push(vec![
            kernel.to_owned(),
            seconds(0),
            seconds(1),
            format!("{:.2}", own[0]),
            seconds(2),
            seconds(3),
            format!("{:.2}", own[1]),
        ]);
    }
    let [slices, guests] = ratios.map(|ratios| format!("{:.2}", geometric_mean(&ratios)));
    let nothing = String::new;
    rows.push(vec!["geometric mean".to_owned(), nothing(), nothing(), slices, nothing(), nothing(), guests]);
    let header = ["", "wasmtime, fuel", "at-slices", "of it", "wasmtime, fuel and epoch", "in-guest", "of it"];
    table::print("Metered compute in the sandbox and under plain wasmtime (required: 1.10)", &header, rows);
    Ok(())
}

fn config() -> Criterion {
    Criterion::default().warm_up_time(Duration::from_millis(50))
}

criterion_group! { name = benches; config = config(); targets = measure }
criterion_main!(benches);
