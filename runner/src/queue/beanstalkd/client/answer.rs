//! A command, and the answer to it: a line, and what the line announces. All of it is bounded.

use super::super::protocol::{MAX_LINE, Reply};
use super::{Body, Client, ClientError};
use crate::job::MAX_DOCUMENT;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The longest body that is kept; one of a job that is longer is no job document either.
pub(super) const MAX_BODY: usize = MAX_DOCUMENT;
/// The most figures, or names of tubes, that are taken, in bytes.
const MAX_FIGURES: usize = 1 << 20;
/// The longest body that is waited for; no server takes a longer one.
const MAX_SKIPPED: usize = (1 << 30) + 1;
/// What is kept of a body that is too long, in bytes.
pub(super) const HEAD: usize = 400;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Gives a command and waits for the answer.
    pub(super) async fn ask(&mut self, command: &[u8]) -> Result<(Reply, Option<Body>), ClientError> {
        self.ask_and_wait(command, Duration::ZERO).await
    }

    /// The same for a command that says how long the server shall wait.
    pub(super) async fn ask_and_wait(
        &mut self,
        command: &[u8],
        wait: Duration,
    ) -> Result<(Reply, Option<Body>), ClientError> {
        let patience = self.patience + wait;
        // Also if this future is dropped before its end.
        if !std::mem::replace(&mut self.is_usable, false) {
            return Err(ClientError::GivenUp);
        }
        let answer = tokio::time::timeout(patience, async {
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
        let answer = answer.await.unwrap_or(Err(ClientError::Silent(patience)))?;
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
        // Nothing is set aside for what only is announced.
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
}
