//! Receives results over real HTTP on a loopback port, and answers as it was told.

use anyhow::Context;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver as Arrivals, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Far longer than a result takes to arrive, or than a worker waits before it sends one a second or third time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said to one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A status, such as `307 Temporary Redirect`, and header lines, each with its line end.
    Status(&'static str, String),
    /// Nothing, for as long as the receiver lives.
    Silence,
}

impl Answer {
    /// A status without further headers.
    pub fn status(status: &'static str) -> Self {
        Self::Status(status, String::new())
    }
}

/// A request that came.
#[derive(Debug)]
pub struct Received {
    /// Method and target.
    pub request: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// As many bytes as were announced.
    pub body: Vec<u8>,
}

/// A receiver on a thread of its own. Dropped, it lets go of its port.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    arrivals: Arrivals<Received>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Gives each request the next of these answers, and the last one for ever.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start(answers: Vec<Answer>) -> anyhow::Result<Self> {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answers)
    }

    /// The same at a certain address.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn start_at(address: SocketAddr, answers: Vec<Answer>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("listening on {address} failed"))?;
        let address = listener.local_addr()?;
        let (sender, arrivals) = mpsc::channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let thread = thread::spawn(move || receive(&listener, &answers, &sender, &over));
        Ok(Self { address, arrivals, is_over, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A URL of its own, for a path with its slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits for the next request.
    ///
    /// # Errors
    /// If none comes.
    pub fn next(&self) -> anyhow::Result<Received> {
        self.arrivals.recv_timeout(PATIENCE).context("nothing has arrived")
    }

    /// The next request, if it is there already.
    pub fn try_next(&self) -> Option<Received> {
        self.arrivals.try_recv().ok()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // The thread waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn receive(listener: &TcpListener, answers: &[Answer], sender: &Sender<Received>, is_over: &AtomicBool) {
    let (mut kept_waiting, mut place) = (Vec::new(), 0);
    for stream in listener.incoming().map_while(Result::ok) {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        // A sender that goes away early is the sender's affair.
        let Ok(received) = read(&stream) else { continue };
        let _ = sender.send(received);
        match answers.get(place).or(answers.last()) {
            Some(Answer::Status(status, headers)) => {
                let _ = write!(&stream, "HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
            }
            Some(Answer::Silence) | None => kept_waiting.push(stream),
        }
        place += 1;
    }
}

fn read(stream: &TcpStream) -> anyhow::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line.trim_end().to_owned())
    };
    let request = line()?;
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").context("a length is always announced")?.parse()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = request.strip_suffix(" HTTP/1.1").context("HTTP/1.1 is spoken")?.to_owned();
    Ok(Received { request, headers, body })
}
