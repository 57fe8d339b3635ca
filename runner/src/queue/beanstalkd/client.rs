//! A connection to a beanstalkd server, one command at a time.

mod answer;

use super::protocol::{Denial, Reply};
use super::stats::{JobStats, ServerStats, TubeStats, tubes};
use crate::job::{Tube, excerpt};
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, BufReader};

/// How long an answer may take, beyond what was asked to be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a command has come to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The connection is no more.
    #[error("the connection has ended: {0}")]
    Connection(#[from] io::Error),
    /// No answer has come.
    #[error("no answer has come for {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// What has come is no answer to the command.
    #[error("the answer {0} is not one that beanstalkd gives; see what listens there")]
    Malformed(String),
    /// The server refuses.
    #[error("{0}")]
    Denied(#[from] Denial),
    /// An earlier command has failed, so that nobody knows what the next bytes belong to.
    #[error("the connection was given up before")]
    GivenUp,
}

/// A job's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than any job may be.
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
    /// What it is.
    pub body: Body,
}

/// A connection to a server.
///
/// Whatever goes wrong, a command that was broken off included, gives the connection up: the server ends it, and
/// with it the reservations.
#[derive(Debug)]
pub struct Client<S> {
    stream: BufReader<S>,
    /// Whether the next byte that comes is the first one of an answer.
    is_usable: bool,
    /// The tubes that are reserved from.
    watched: BTreeSet<Tube>,
    /// Which process the server is, once it has said so.
    instance: Option<u64>,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A client on a new connection.
    pub fn new(stream: S) -> Self {
        let watched = BTreeSet::from([Tube::default()]);
        Self { stream: BufReader::new(stream), is_usable: true, watched, instance: None, patience: PATIENCE }
    }

    /// Whether the connection was not given up.
    pub fn is_usable(&self) -> bool {
        self.is_usable
    }

    /// The connection itself.
    pub(super) fn stream(&self) -> &S {
        self.stream.get_ref()
    }

    /// Keeps a job in `tube`, and returns its number. `delay` and `ttr` are in seconds.
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
            // It had no memory to queue the job, and keeps it where nobody gets it.
            Reply::Buried(Some(number)) => {
                self.delete(number).await?;
                Err(Denial::OutOfMemory.into())
            }
            reply => self.unexpected(reply),
        }
    }

    /// Has jobs reserved from these tubes and no others.
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

    /// Reserves the most urgent job of the watched tubes, or waits for one for as many seconds.
    ///
    /// There is none either if a job that this connection has reserved is about to time out.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reserve(&mut self, seconds: u32) -> Result<Option<Reserved>, ClientError> {
        let wait = Duration::from_secs(seconds.into());
        match self.ask_and_wait(format!("reserve-with-timeout {seconds}\r\n").as_bytes(), wait).await? {
            (Reply::Reserved(number, _), Some(body)) => Ok(Some(Reserved { number, body })),
            (Reply::TimedOut | Reply::DeadlineSoon, _) => Ok(None),
            (reply, _) => self.unexpected(reply),
        }
    }

    /// Removes a job that nobody but this connection has reserved; whether there was one.
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

    /// Puts a job aside until it is kicked; whether this connection had it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bury(&mut self, number: u64, priority: u32) -> Result<bool, ClientError> {
        self.tell(format!("bury {number} {priority}\r\n"), &[Reply::Buried(None)]).await
    }

    /// Has a reservation last for another `ttr`; whether this connection had it.
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

    /// Has no job of a tube reserved for as many seconds; whether there is such a tube.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn pause(&mut self, tube: &Tube, seconds: u32) -> Result<bool, ClientError> {
        self.tell(format!("pause-tube {tube} {seconds}\r\n"), &[Reply::Paused]).await
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

    /// The server's own figures.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stats(&mut self) -> Result<ServerStats, ClientError> {
        let stats = self.figures("stats\r\n", ServerStats::read).await?;
        stats.ok_or_else(|| self.malformed("NOT_FOUND"))
    }

    /// Which of its processes the server is. A connection does not outlive it, so it is asked once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn instance(&mut self) -> Result<u64, ClientError> {
        if self.instance.is_none() {
            self.instance = Some(self.stats().await?.instance);
        }
        Ok(self.instance.unwrap_or(0))
    }

    /// All tubes that there are.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn list_tubes(&mut self) -> Result<Vec<Tube>, ClientError> {
        Ok(self.figures("list-tubes\r\n", tubes).await?.unwrap_or_default())
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

    /// An answer that is one, but not to this command.
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
mod tests;
