//! A server whose answers never end.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// How long it waits between two bytes of a trickle.
const PAUSE: Duration = Duration::from_millis(20);

/// Serves `/endless` and `/trickle` on a loopback port for as long as the test runs.
pub fn start() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    Ok(address)
}

/// Answers until whoever asked goes away, which is the error here.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = BufReader::new(stream.try_clone()?).lines();
    let trickles = request.next().transpose()?.is_some_and(|line| line.contains("/trickle"));
    while request.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    loop {
        if trickles {
            thread::sleep(PAUSE);
            stream.write_all(b"x")?;
        } else {
            stream.write_all(&[b'x'; 64 << 10])?;
        }
    }
}
