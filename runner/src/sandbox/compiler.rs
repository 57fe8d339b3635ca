//! Compiles modules: few at a time, once each, and away from all other threads.
//!
//! A compilation cannot be stopped. So it belongs to nobody who waits for it: an attempt whose time is over
//! goes, and the product is there for the next one. What nobody can run is remembered too, or each attempt
//! at it would keep a core busy again.

use super::{BadModule, Program, structure};
use crate::job::{Digest, Verdict};
use lru::LruCache;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot, watch};
use wasmtime::Engine;

/// How many products are kept in memory, refusals among them.
const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not zero");
/// How many bytes of machine code are kept in memory, the newest program's apart.
const KEPT_CODE: usize = 512 << 20;
/// Modules that are compiled at a time: a small one need not wait for a large one. Others wait in line.
const AT_ONCE: usize = 2;
/// Threads for each. More would be faster, and take the memory of as many of the worst bodies.
const MAX_THREADS: usize = 4;
/// How far the threads stand back behind guests, heartbeats and answers, as for `nice`.
const NICE: i32 = 10;

/// What came of a module, for all who wait for it.
type Product = Result<Arc<Program>, Verdict>;
type Awaited = watch::Receiver<Option<Product>>;

/// Compiles, and keeps what comes of it.
pub(super) struct Compiler {
    engine: Engine,
    max_memory: u64,
    lanes: Arc<Semaphore>,
    shelf: Mutex<Shelf>,
}

/// What is there, and what will be.
struct Shelf {
    kept: LruCache<Digest, Product>,
    underway: HashMap<Digest, Awaited>,
}

impl Shelf {
    /// Keeps a product, and lets go of those that were not used for longest until the rest is small enough.
    fn keep(&mut self, digest: Digest, product: Product) {
        self.kept.put(digest, product);
        let size = |product: &Product| product.as_ref().map_or(0, |program| program.size());
        let mut code: usize = self.kept.iter().map(|(_, product)| size(product)).sum();
        while code > KEPT_CODE && self.kept.len() > 1 {
            let Some((_, oldest)) = self.kept.pop_lru() else { break };
            code = code.saturating_sub(size(&oldest));
        }
    }
}

impl Compiler {
    /// A compiler of modules that start with at most so many bytes of memory.
    pub fn new(engine: Engine, max_memory: u64) -> Self {
        let shelf = Shelf { kept: LruCache::new(KEPT), underway: HashMap::new() };
        Self { engine, max_memory, lanes: Arc::new(Semaphore::new(AT_ONCE)), shelf: Mutex::new(shelf) }
    }

    /// The program with this digest; `load` reads the module if it must be compiled, once it is its turn.
    ///
    /// # Errors
    /// Those of `load`, which are not remembered, and [`Verdict::BadModule`], which is.
    pub async fn program<F>(self: Arc<Self>, digest: Digest, load: F) -> Product
    where
        F: FnOnce() -> Result<Vec<u8>, Verdict> + Send + 'static,
    {
        let mut awaited = {
            let mut shelf = self.shelf();
            if let Some(product) = shelf.kept.get(&digest) {
                return product.clone();
            }
            let start = || {
                let (sender, receiver) = watch::channel(None);
                tokio::spawn(Arc::clone(&self).make(digest, load, sender));
                receiver
            };
            shelf.underway.entry(digest).or_insert_with(start).clone()
        };
        match awaited.wait_for(Option::is_some).await {
            Ok(product) => product.clone().unwrap_or_else(|| Err(gone())),
            Err(_) => Err(gone()),
        }
    }

    /// Looks at a module without compiling it.
    ///
    /// # Errors
    /// [`BadModule`] with the bound that it passes.
    pub fn check(&self, bytes: &[u8]) -> Result<(), BadModule> {
        structure::check(bytes, self.max_memory)
    }

    /// Compiles on threads that stand back, while the caller waits.
    ///
    /// # Errors
    /// [`BadModule`], which says why nobody could run it.
    pub fn compile(&self, bytes: &[u8]) -> Result<Program, BadModule> {
        let compile = || Program::compile(&self.engine, self.max_memory, bytes);
        // Without threads of its own it is done on the caller's: slower, and not less right.
        threads().map_or_else(|_| compile(), |threads| threads.install(compile))
    }

    async fn make<F>(self: Arc<Self>, digest: Digest, load: F, sender: watch::Sender<Option<Product>>)
    where
        F: FnOnce() -> Result<Vec<u8>, Verdict> + Send + 'static,
    {
        let _lane = self.lanes.acquire().await;
        let (product, is_final) = Arc::clone(&self).make_now(load).await;
        let mut shelf = self.shelf();
        shelf.underway.remove(&digest);
        if is_final {
            shelf.keep(digest, product.clone());
        }
        sender.send_replace(Some(product));
    }

    /// What comes of a module, and whether the same would come of it again.
    async fn make_now<F>(self: Arc<Self>, load: F) -> (Product, bool)
    where
        F: FnOnce() -> Result<Vec<u8>, Verdict> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let make = move || {
            // A compiler that panics on a module would do so again.
            let compile = |bytes: Vec<u8>| catch_unwind(AssertUnwindSafe(|| self.compile(&bytes)));
            let made = match load().map(compile) {
                Err(verdict) => (Err(verdict), false),
                Ok(Ok(Ok(program))) => (Ok(Arc::new(program)), true),
                Ok(Ok(Err(refused))) => (Err(Verdict::from(refused).clipped()), true),
                Ok(Err(_)) => (Err(BadModule("the compiler failed on it".to_owned()).into()), true),
            };
            // Nobody listens once the runtime is shut down.
            drop(sender.send(made));
        };
        // A thread of the runtime's would hold up the end of the process for as long as it compiles.
        let started = std::thread::Builder::new().name("compile".to_owned()).spawn(make);
        let failed =
            |error| (Err(Verdict::HostError { message: format!("starting to compile failed: {error}") }), false);
        match started {
            Ok(_) => receiver.await.unwrap_or_else(|_| (Err(gone()), false)),
            Err(error) => failed(error),
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> Verdict {
    Verdict::HostError { message: "compiling was given up".to_owned() }
}

/// Threads for one compilation, which go with it. wasmtime compiles on the pool that it is called on; the
/// one that all of a process share would have as many threads as there are cores, as urgent as those of the
/// guests.
fn threads() -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let stand_back = |_| {
        // On Linux this is the calling thread's alone. Where it is refused, compiling is as urgent as
        // anything else.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(None, NICE);
    };
    ThreadPoolBuilder::new()
        .num_threads(cores.min(MAX_THREADS))
        .thread_name(|_| "compile".to_owned())
        .start_handler(stand_back)
        .build()
}
