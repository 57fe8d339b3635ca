//! A connection to a beanstalkd server, one command at a time. Everything that is read from it has a limit.

mod protocol;

use crate::job::{MAX_DOCUMENT, Tube, excerpt};
pub use protocol::{Denial, JobState, JobStats, TubeStats};
use protocol::{MAX_LINE, Reply, hostname};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest body that is kept. A longer one is no job document either.
const MAX_BODY: usize = MAX_DOCUMENT;
/// The most bytes of figures that are taken.
const MAX_FIGURES: usize = 64 << 10;
/// The longest body that is read past; no server takes a longer one.
const MAX_SKIPPED: usize = (1 << 30) + 1;
/// What is kept of a body that is too long, in bytes.
const HEAD: usize = 400;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection has ended.
    #[error("the connection has ended: {0}")]
    Connection(#[from] io::Error),
    /// No answer has come.
    #[error("no answer has come for {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// The answer does not belong to the command.
    #[error("the answer {0} is not one that beanstalkd gives; see what listens there")]
    Malformed(String),
    /// The server refuses.
    #[error("{0}")]
    Denied(#[from] Denial),
    /// An earlier command has failed, so nobody knows what the next bytes belong to.
    #[error("the connection was given up before")]
    GivenUp,
}

/// A job's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than any job document may be.
    TooLong {
        /// How long, in bytes.
        length: usize,
        /// How it begins.
        head: Vec<u8>,
    },
}

/// A job that was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    /// The server's number for it.
    pub number: u64,
    /// What the producer put.
    pub body: Body,
}

/// A connection to a server.
///
/// After an error other than [`ClientError::Denied`], and after a command whose future was dropped early,
/// the connection is given up. The server then ends it, and with it the reservation.
#[derive(Debug)]
pub struct Client<S> {
    stream: BufReader<S>,
    /// Whether the next byte that comes is the first one of an answer.
    is_usable: bool,
    /// The tubes that are reserved from.
    watched: BTreeSet<Tube>,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a new connection.
    pub fn new(stream: S) -> Self {
        let watched = BTreeSet::from([Tube::default()]);
        Self { stream: BufReader::new(stream), is_usable: true, watched, patience: PATIENCE }
    }

    /// Whether the connection was not given up.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// The connection itself.
    pub(super) fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// Puts a job into `tube`, and returns its number. `delay` and `ttr` are in seconds.
    ///
    /// # Errors
    /// [`ClientError`]; if it is not [`Denied`](ClientError::Denied), the job may be there all the same.
    pub async fn put(
        &mut self,
        tube: &Tube,
        priority: u32,
        delay: u32,
        ttr: u32,
        body: &[u8],
    ) -> Result<u64, ClientError> {
        match self.ask(format!("use {tube}\r\n").as_bytes()).await?.0 {
            Reply::Using => {}
            reply => return self.unexpected(reply),
        }
        let mut command = format!("put {priority} {delay} {ttr} {}\r\n", body.len()).into_bytes();
        command.extend_from_slice(body);
        command.extend_from_slice(b"\r\n");
        match self.ask(&command).await?.0 {
            Reply::Inserted(number) => Ok(number),
            // The server had no memory to queue the job, and keeps it buried.
            Reply::Buried(Some(number)) => {
                self.delete(number).await?;
                Err(Denial::OutOfMemory.into())
            }
            reply => self.unexpected(reply),
        }
    }

    /// Sets the tubes that are reserved from.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn watch(&mut self, tubes: &[Tube]) -> Result<(), ClientError> {
        let wanted: BTreeSet<Tube> = tubes.iter().cloned().collect();
        let more = wanted.difference(&self.watched).map(|tube| format!("watch {tube}\r\n"));
        let less = self.watched.difference(&wanted).map(|tube| format!("ignore {tube}\r\n"));
        for command in more.chain(less).collect::<Vec<_>>() {
            match self.ask(command.as_bytes()).await?.0 {
                Reply::Watching => {}
                reply => return self.unexpected(reply),
            }
        }
        self.watched = wanted;
        Ok(())
    }

    /// Reserves the most urgent job of the watched tubes, if there is one now. The server is not waited for:
    /// a worker that was stopped while it waits would be given a job that it cannot run.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reserve(&mut self) -> Result<Option<Reserved>, ClientError> {
        match self.ask(b"reserve-with-timeout 0\r\n").await? {
            (Reply::Reserved(number, _), Some(body)) => Ok(Some(Reserved { number, body })),
            (Reply::TimedOut | Reply::DeadlineSoon, _) => Ok(None),
            (reply, _) => self.unexpected(reply),
        }
    }

    /// Removes a job that no other connection has reserved; whether there was one.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn delete(&mut self, number: u64) -> Result<bool, ClientError> {
        self.tell(format!("delete {number}\r\n"), &[Reply::Deleted]).await
    }

    /// Gives a job back; whether this connection had it. A server without memory buries it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn release(&mut self, number: u64, priority: u32, delay: u32) -> Result<bool, ClientError> {
        self.tell(format!("release {number} {priority} {delay}\r\n"), &[Reply::Released, Reply::Buried(None)]).await
    }

    /// Buries a job; whether this connection had it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bury(&mut self, number: u64, priority: u32) -> Result<bool, ClientError> {
        self.tell(format!("bury {number} {priority}\r\n"), &[Reply::Buried(None)]).await
    }

    /// Renews a reservation for another `ttr`; whether this connection had it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn touch(&mut self, number: u64) -> Result<bool, ClientError> {
        self.tell(format!("touch {number}\r\n"), &[Reply::Touched]).await
    }

    /// Makes a buried or delayed job ready; whether it was one of them.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn kick_job(&mut self, number: u64) -> Result<bool, ClientError> {
        self.tell(format!("kick-job {number}\r\n"), &[Reply::Kicked]).await
    }

    /// A job's body, if there is such a job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn peek(&mut self, number: u64) -> Result<Option<Body>, ClientError> {
        match self.ask(format!("peek {number}\r\n").as_bytes()).await? {
            (Reply::Found(found, _), Some(body)) if found == number => Ok(Some(body)),
            (Reply::NotFound, _) => Ok(None),
            (reply, _) => self.unexpected(reply),
        }
    }

    /// A job's figures, if there is such a job.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats_job(&mut self, number: u64) -> Result<Option<JobStats>, ClientError> {
        self.figures(&format!("stats-job {number}\r\n"), JobStats::read).await
    }

    /// A tube's figures, if there is such a tube.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats_tube(&mut self, tube: &Tube) -> Result<Option<TubeStats>, ClientError> {
        self.figures(&format!("stats-tube {tube}\r\n"), TubeStats::read).await
    }

    /// The name of the host that the server runs on; empty if it does not say.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn hostname(&mut self) -> Result<String, ClientError> {
        let name = self.figures("stats\r\n", hostname).await?;
        name.ok_or_else(|| self.malformed("NOT_FOUND"))
    }

    /// Gives a command that is done or finds nothing.
    async fn tell(&mut self, command: String, done: &[Reply]) -> Result<bool, ClientError> {
        match self.ask(command.as_bytes()).await?.0 {
            Reply::NotFound => Ok(false),
            reply if done.contains(&reply) => Ok(true),
            reply => self.unexpected(reply),
        }
    }

    async fn figures<T>(&mut self, command: &str, read: fn(&str) -> Option<T>) -> Result<Option<T>, ClientError> {
        match self.ask(command.as_bytes()).await? {
            (Reply::Ok(_), Some(Body::Whole(yaml))) => {
                let figures = str::from_utf8(&yaml).ok().and_then(read);
                figures.map(Some).ok_or_else(|| self.malformed(&String::from_utf8_lossy(&yaml)))
            }
            (Reply::NotFound, _) => Ok(None),
            (reply, _) => self.unexpected(reply),
        }
    }

    /// Gives a command and waits for the answer: a line, and the body that the line announces.
    async fn ask(&mut self, command: &[u8]) -> Result<(Reply, Option<Body>), ClientError> {
        // The flag stays down if this future is dropped before its end.
        if !std::mem::replace(&mut self.is_usable, false) {
            return Err(ClientError::GivenUp);
        }
        let answer = tokio::time::timeout(self.patience, async {
            self.stream.write_all(command).await?;
            self.stream.flush().await?;
            let line = self.line().await?;
            let Some(reply) = Reply::parse(&line) else {
                return Err(self.malformed(&String::from_utf8_lossy(&line)));
            };
            let body = match reply.body() {
                Some(length) => Some(self.body(reply, length).await?),
                None => None,
            };
            Ok((reply, body))
        });
        let answer = answer.await.unwrap_or(Err(ClientError::Silent(self.patience)))?;
        self.is_usable = true;
        Ok(answer)
    }

    async fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() == MAX_LINE + 2 {
                return Err(self.malformed(&String::from_utf8_lossy(&line)));
            }
            line.push(self.stream.read_u8().await?);
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    async fn body(&mut self, reply: Reply, length: usize) -> Result<Body, ClientError> {
        let is_job = !matches!(reply, Reply::Ok(_));
        let most = if is_job { MAX_BODY } else { MAX_FIGURES };
        if length > if is_job { MAX_SKIPPED } else { most } {
            return Err(self.malformed(&format!("of {length} bytes")));
        }
        // Memory grows with what has come, not with what was announced.
        let mut bytes = Vec::new();
        let kept = if length > most { HEAD } else { length };
        (&mut self.stream).take(kept as u64).read_to_end(&mut bytes).await?;
        let rest = (length - kept) as u64;
        let skipped = tokio::io::copy(&mut (&mut self.stream).take(rest), &mut tokio::io::sink()).await?;
        if bytes.len() < kept || skipped < rest {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut end = [0; 2];
        self.stream.read_exact(&mut end).await?;
        if end != *b"\r\n" {
            return Err(self.malformed("of another length than it was announced with"));
        }
        Ok(if length > most { Body::TooLong { length, head: bytes } } else { Body::Whole(bytes) })
    }

    /// An answer that beanstalkd gives, but not to this command.
    fn unexpected<T>(&mut self, reply: Reply) -> Result<T, ClientError> {
        match reply {
            Reply::Denied(denial) => Err(denial.into()),
            reply => Err(self.malformed(&format!("{reply:?}"))),
        }
    }

    fn malformed(&mut self, answer: &str) -> ClientError {
        self.is_usable = false;
        ClientError::Malformed(excerpt(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::{DuplexStream, duplex};

    /// A client whose server has sent all that it will ever send.
    async fn told(said: &[u8]) -> Client<DuplexStream> {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(said).await.unwrap();
        tokio::spawn(async move {
            // Reads on, so that nothing but silence keeps the client waiting; closes when the client does.
            far.shutdown().await.unwrap();
            tokio::io::copy(&mut far, &mut tokio::io::sink()).await
        });
        Client::new(near)
    }

    #[tokio::test]
    async fn body_is_taken_to_the_byte() {
        let mut client = told(b"RESERVED 7 4\r\n\r\n\r\n\r\nTIMED_OUT\r\n").await;
        let reserved = client.reserve().await.unwrap().unwrap();
        assert_eq!(reserved, Reserved { number: 7, body: Body::Whole(b"\r\n\r\n".to_vec()) });
        assert_eq!(client.reserve().await.unwrap(), None);
        assert!(client.is_usable());
    }

    #[tokio::test]
    async fn wrong_answer_gives_the_connection_up() {
        for said in [
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "RESERVED 7 4\r\nabcdef\r\n",
            "RESERVED 7 4\r\nab",
            "RESERVED 7 9999999999\r\n",
            "DELETED\r\n",
            "RESERVED 7",
            "",
            &"x".repeat(10_000),
        ] {
            let mut client = told(said.as_bytes()).await;
            let error = client.reserve().await.unwrap_err();
            assert!(matches!(error, ClientError::Malformed(_) | ClientError::Connection(_)), "{said}: {error}");
            assert!(!client.is_usable());
            assert!(matches!(client.touch(7).await, Err(ClientError::GivenUp)));
        }
    }

    #[tokio::test]
    async fn refusal_leaves_the_connection_usable() {
        let mut client = told(b"USING default\r\nDRAINING\r\nTOUCHED\r\n").await;
        let refused = client.put(&Tube::default(), 0, 0, 1, b"x").await;
        assert!(matches!(refused, Err(ClientError::Denied(Denial::Draining))));
        assert!(client.touch(1).await.unwrap());
    }

    #[tokio::test]
    async fn dropped_command_gives_the_connection_up() {
        let (near, _far) = duplex(1 << 10);
        let mut client = Client::new(near);
        let _ = tokio::time::timeout(Duration::from_millis(1), client.touch(1)).await;
        assert!(matches!(client.touch(1).await, Err(ClientError::GivenUp)));
    }

    #[tokio::test]
    async fn silent_server_is_given_up_after_the_limit() {
        let (near, _far) = duplex(1 << 10);
        let mut client = Client { patience: Duration::from_millis(50), ..Client::new(near) };
        assert!(matches!(client.reserve().await, Err(ClientError::Silent(patience)) if patience.as_millis() == 50));
    }

    #[tokio::test]
    async fn too_long_job_is_read_past_and_not_kept() {
        let length = MAX_BODY + 1;
        let (near, mut far) = duplex(1 << 16);
        let _server = tokio::spawn(async move {
            far.write_all(format!("RESERVED 7 {length}\r\n").as_bytes()).await.unwrap();
            far.write_all(&vec![b'x'; length]).await.unwrap();
            far.write_all(b"\r\nTOUCHED\r\n").await.unwrap();
            far
        });
        let mut client = Client::new(near);
        let body = client.reserve().await.unwrap().unwrap().body;
        assert_eq!(body, Body::TooLong { length, head: vec![b'x'; HEAD] });
        assert!(client.touch(7).await.unwrap());
    }

    #[tokio::test]
    async fn only_changed_tubes_are_watched_and_ignored() {
        let (near, mut far) = duplex(1 << 16);
        far.write_all(&b"WATCHING 2\r\n".repeat(10)).await.unwrap();
        let mut client = Client::new(near);
        let tubes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<Tube>>();
        client.watch(&tubes(&["a", "b"])).await.unwrap();
        client.watch(&tubes(&["b", "a"])).await.unwrap();
        client.watch(&tubes(&["b", "default"])).await.unwrap();
        drop(client);
        let mut said = String::new();
        far.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "watch a\r\nwatch b\r\nignore default\r\nwatch default\r\nignore a\r\n");
    }

    proptest! {
        #[test]
        fn any_answer_is_taken_or_refused(said in proptest::collection::vec(any::<u8>(), 0..500)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut client = told(&said).await;
                let _ = client.stats_job(1).await;
                let _ = client.reserve().await;
            });
        }
    }
}
