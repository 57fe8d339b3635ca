//! Content codings: what a server does to a body before it sends it (RFC 9110, 8.4), undone within a bound.

use crate::body::{Body, Spool};
use crate::job::excerpt;
use flate2::write::GzDecoder;
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io::{self, Write};

/// What servers are asked for; that a body is not coded at all is always acceptable.
pub(super) const ACCEPTED: &str = "gzip";
/// A decoder is set up for each member of a gzip body, and a member of 20 bytes may hold nothing. Block gzip has one
/// for 64 KiB at most, so this is enough for 6 GiB of it.
const MAX_MEMBERS: u32 = 100_000;

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
}

/// Codings that are not undone, as the server names them, quoted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server codes its body as {0}, and only gzip is understood, once")]
pub(super) struct UnknownCoding(String);

impl Coding {
    /// What the headers of a response say.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, UnknownCoding> {
        let lines = headers.get_all(CONTENT_ENCODING).iter();
        let text = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect::<Vec<_>>().join(", ");
        let names = text.split(',').map(|name| name.trim().to_ascii_lowercase());
        let codings: Vec<_> = names.filter(|name| !name.is_empty() && name != "identity").collect();
        match codings.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Coding::Identity),
            ["gzip" | "x-gzip"] => Ok(Coding::Gzip),
            _ => Err(UnknownCoding(excerpt(&codings.join(", ")))),
        }
    }

    /// How many bytes, as they are sent, are worth a call on a thread that may block; and how many such a call may
    /// take and still end soon, for nothing stops it. Gzip makes up to 1,032 bytes of one.
    pub(super) fn piece(self) -> usize {
        match self {
            Coding::Identity => 256 << 10,
            Coding::Gzip => 16 << 10,
        }
    }
}

/// Takes a body as it is sent, and keeps it as it was before it was coded.
pub(super) struct Decoder(State);

enum State {
    Plain(Bounded),
    /// Between two members, or before the first, of a gzip body.
    Between(Bounded, u32),
    /// In a member, which is the one of this number.
    Within(Box<GzDecoder<Bounded>>, u32),
}

/// Why a body cannot be had.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is larger than the bound: it has at least so many bytes.
    TooLarge(u64),
    /// It is not what its coding makes of any body.
    Damaged(String),
    /// The disk's.
    Disk(io::Error),
}

impl Decoder {
    /// A decoder that takes a body of at most so many bytes.
    pub(super) fn new(coding: Coding, spool: Spool, at_most: u64) -> Self {
        let body = Bounded { spool, at_most, fault: None };
        Self(match coding {
            Coding::Identity => State::Plain(body),
            Coding::Gzip => State::Between(body, 0),
        })
    }

    /// Takes the next bytes that were sent. It blocks.
    pub(super) fn take(self, mut coded: &[u8]) -> Result<Self, Fault> {
        let mut state = self.0;
        while !coded.is_empty() {
            state = match state {
                State::Plain(mut body) => {
                    body.write_all(coded).map_err(|error| body.why(&error))?;
                    coded = &[];
                    State::Plain(body)
                }
                State::Between(_, MAX_MEMBERS) => {
                    return Err(Fault::Damaged(format!("it has more than {MAX_MEMBERS} members")));
                }
                State::Between(body, members) => State::Within(Box::new(GzDecoder::new(body)), members + 1),
                State::Within(mut member, number) => match member.write(coded) {
                    // Nothing is taken after the end of a member.
                    Ok(0) => State::Between(end(*member)?, number),
                    Ok(length) => {
                        coded = &coded[length..];
                        State::Within(member, number)
                    }
                    Err(error) => return Err(member.get_mut().why(&error)),
                },
            };
        }
        Ok(Self(state))
    }

    /// The body, if all of it has been sent. It blocks.
    pub(super) fn finish(self) -> Result<Body, Fault> {
        let body = match self.0 {
            State::Plain(body) | State::Between(body, _) => body,
            State::Within(member, _) => end(*member)?,
        };
        body.spool.finish().map_err(Fault::Disk)
    }
}

/// Ends a member, whose length and checksum must be right.
fn end(mut member: GzDecoder<Bounded>) -> Result<Bounded, Fault> {
    member.try_finish().map_err(|error| member.get_mut().why(&error))?;
    member.finish().map_err(|error| Fault::Damaged(error.to_string()))
}

/// A body that refuses to become too large. What it refuses with is kept, since a decoder in between hands on any
/// error as its own kind of error.
struct Bounded {
    spool: Spool,
    at_most: u64,
    fault: Option<Fault>,
}

impl Bounded {
    /// Why writing failed: on this side, or else in the decoder before it.
    fn why(&mut self, error: &io::Error) -> Fault {
        self.fault.take().unwrap_or_else(|| Fault::Damaged(error.to_string()))
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let observed = self.spool.size().saturating_add(bytes.len() as u64);
        let written = if observed > self.at_most {
            Err(Fault::TooLarge(observed))
        } else {
            self.spool.write(bytes).map_err(Fault::Disk)
        };
        written.map_err(|fault| {
            self.fault = Some(fault);
            io::Error::other("the body was refused")
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
