//! The way to the server: connections that are kept while nobody needs them, and made again when it was away.

use super::address::Address;
use super::client::{Client, ClientError};
use super::lock;
use crate::queue::QueueError;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// How long making a connection may take, the look-up of the name included.
const CONNECTING: Duration = Duration::from_secs(5);
/// The first wait after a connection could not be made; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// As many connections are kept for later.
const IDLE: usize = 64;

/// A connection to the server.
pub(super) type Connection = Client<TcpStream>;

/// The way to the server.
pub(super) struct Server {
    address: Address,
    /// Drives the connections and keeps reservations alive, on a thread that has nothing else to do.
    runtime: Option<Runtime>,
    idle: Mutex<Vec<Connection>>,
    outage: Mutex<Outage>,
}

/// The tries to reach a server that have failed, one after the other.
#[derive(Debug, Default)]
struct Outage {
    failures: u32,
    until: Option<Instant>,
}

impl Outage {
    /// How long nobody needs to try.
    fn wait(&self, now: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// One more try has failed. Of several at the same time, one counts.
    fn failed(&mut self, now: Instant) {
        if self.wait(now).is_zero() {
            self.until = Some(now + FIRST_WAIT.saturating_mul(1 << self.failures.min(16)).min(LONGEST_WAIT));
            self.failures = self.failures.saturating_add(1);
        }
    }
}

impl Server {
    /// The way to the server at `address`; no connection is made yet.
    pub(super) fn new(address: Address) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("beanstalkd").enable_all().build()?;
        Ok(Self { address, runtime: Some(runtime), idle: Mutex::default(), outage: Mutex::default() })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Runs a task beside everything else.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.runtime.as_ref().expect("the runtime is there until this is dropped").spawn(task)
    }

    /// Whether the last try to reach it has failed.
    pub(super) fn is_away(&self) -> bool {
        lock(&self.outage).failures > 0
    }

    /// A connection. After a failure the next try is not made at once, but waited for here, so that whoever asks
    /// again and again neither spins nor floods a log.
    ///
    /// # Errors
    /// [`QueueError::Backend`] if none can be made.
    pub(super) async fn connect(&self) -> Result<Connection, QueueError> {
        while let Some(connection) = self.pop_idle() {
            if is_open(&connection) {
                return Ok(connection);
            }
        }
        let wait = lock(&self.outage).wait(Instant::now());
        tokio::time::sleep(wait).await;
        let (host, port) = (self.address.host().to_owned(), self.address.port());
        // The task's runtime is the one that watches the connection from then on.
        let dialled = self.spawn(async move {
            let stream = tokio::time::timeout(CONNECTING, TcpStream::connect((host, port))).await??;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(stream)
        });
        match dialled.await.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(stream) => {
                *lock(&self.outage) = Outage::default();
                Ok(Client::new(stream))
            }
            Err(error) => {
                lock(&self.outage).failed(Instant::now());
                let address = &self.address;
                Err(QueueError::Backend(format!(
                    "{address} cannot be reached: {error}; start beanstalkd there, or name another server with --queue"
                )))
            }
        }
    }

    /// Keeps a connection for later that holds no reservation.
    pub(super) fn give_back(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if connection.is_usable() && idle.len() < IDLE {
            idle.push(connection);
        }
    }

    /// What is told of a command that has come to nothing.
    pub(super) fn failed(&self, error: &ClientError) -> QueueError {
        if matches!(error, ClientError::Connection(_) | ClientError::Silent(_)) {
            // What has ended one connection has most often ended all.
            lock(&self.idle).clear();
        }
        QueueError::Backend(format!("{}: {error}", self.address))
    }

    fn pop_idle(&self) -> Option<Connection> {
        lock(&self.idle).pop()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An ordinary drop would wait, which a thread of another runtime must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether the server still is at the other end, as far as is known here. It says nothing that it was not asked.
fn is_open(connection: &Connection) -> bool {
    let nothing = connection.stream().try_read(&mut [0]);
    connection.is_usable() && nothing.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_double_from_a_tenth_of_a_second_to_five_seconds() {
        let (mut outage, mut now, mut waits) = (Outage::default(), Instant::now(), Vec::new());
        for _ in 0..9 {
            outage.failed(now);
            outage.failed(now);
            waits.push(outage.wait(now).as_millis());
            now += outage.wait(now);
        }
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000]);
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_ended_is_not_used_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("beanstalkd://{}", listener.local_addr().unwrap());
        let server = Server::new(address.parse().unwrap()).unwrap();
        let first = server.connect().await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        server.give_back(first);
        let again = server.connect().await.unwrap();
        assert!(lock(&server.idle).is_empty(), "the first one was taken again");
        drop(accepted);
        // The end of a loopback connection is known at once; the reactor may take a moment to hear of it.
        again.stream().readable().await.unwrap();
        server.give_back(again);
        let second = server.connect().await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, second.stream().local_addr().unwrap());
    }
}
