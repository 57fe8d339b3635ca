//! What a beanstalkd server says: a line, and after some lines a body whose length they tell.

/// The longest line that is taken, in bytes and without its end; the longest that a server sends is `USING` and a
/// tube's name of 200 bytes.
pub(super) const MAX_LINE: usize = 224;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    Inserted(u64),
    /// With the job's number if it answers a `put`.
    Buried(Option<u64>),
    Using,
    Watching,
    /// A job's number, and the length of the body that follows.
    Reserved(u64, usize),
    Found(u64, usize),
    /// The length of the data that follow.
    Ok(usize),
    TimedOut,
    DeadlineSoon,
    Deleted,
    Released,
    Touched,
    Kicked,
    Paused,
    NotFound,
    NotIgnored,
    Denied(Denial),
}

/// What a server does not do, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// `DRAINING`.
    #[error("it takes no more jobs, because it is about to stop; try another server, or this one once it is back")]
    Draining,
    /// `JOB_TOO_BIG`.
    #[error("the job is larger than it takes; start it with a larger -z, or make the job smaller")]
    JobTooBig,
    /// `OUT_OF_MEMORY`.
    #[error("it has no memory left; try again when it has done some of its jobs")]
    OutOfMemory,
    /// `INTERNAL_ERROR`.
    #[error("it has an internal error; see its log, and whether its disk is full")]
    InternalError,
    /// `BAD_FORMAT`, `UNKNOWN_COMMAND` or `EXPECTED_CRLF`.
    #[error("it does not understand a command; is it beanstalkd, and not older than 1.9?")]
    NotUnderstood,
}

impl Reply {
    /// What a line says, if a server may say so.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = str::from_utf8(line).ok()?.split(' ');
        let reply = match words.next()? {
            "INSERTED" => Reply::Inserted(number(words.next()?)?),
            "BURIED" => Reply::Buried(words.next().map_or(Some(None), |word| number(word).map(Some))?),
            "USING" => words.next().map(|_| Reply::Using)?,
            "WATCHING" => number(words.next()?).map(|_| Reply::Watching)?,
            "RESERVED" => Reply::Reserved(number(words.next()?)?, length(words.next()?)?),
            "FOUND" => Reply::Found(number(words.next()?)?, length(words.next()?)?),
            "OK" => Reply::Ok(length(words.next()?)?),
            "TIMED_OUT" => Reply::TimedOut,
            "DEADLINE_SOON" => Reply::DeadlineSoon,
            "DELETED" => Reply::Deleted,
            "RELEASED" => Reply::Released,
            "TOUCHED" => Reply::Touched,
            "KICKED" => Reply::Kicked,
            "PAUSED" => Reply::Paused,
            "NOT_FOUND" => Reply::NotFound,
            "NOT_IGNORED" => Reply::NotIgnored,
            "DRAINING" => Reply::Denied(Denial::Draining),
            "JOB_TOO_BIG" => Reply::Denied(Denial::JobTooBig),
            "OUT_OF_MEMORY" => Reply::Denied(Denial::OutOfMemory),
            "INTERNAL_ERROR" => Reply::Denied(Denial::InternalError),
            "BAD_FORMAT" | "UNKNOWN_COMMAND" | "EXPECTED_CRLF" => Reply::Denied(Denial::NotUnderstood),
            _ => return None,
        };
        words.next().is_none().then_some(reply)
    }

    /// The length of what follows the line, its end not counted, if anything does.
    pub(super) fn body(self) -> Option<usize> {
        match self {
            Reply::Reserved(_, length) | Reply::Found(_, length) | Reply::Ok(length) => Some(length),
            _ => None,
        }
    }
}

/// A job's number. A server counts from 1, so it would take an age to pass what a database's integer holds.
fn number(word: &str) -> Option<u64> {
    digits(word).filter(|number| i64::try_from(*number).is_ok())
}

fn length(word: &str) -> Option<usize> {
    digits(word).and_then(|length| usize::try_from(length).ok())
}

fn digits(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_servers_say_is_understood() {
        for (line, reply) in [
            ("INSERTED 7", Reply::Inserted(7)),
            ("BURIED", Reply::Buried(None)),
            ("BURIED 7", Reply::Buried(Some(7))),
            ("RESERVED 7 65535", Reply::Reserved(7, 65_535)),
            ("OK 0", Reply::Ok(0)),
            ("WATCHING 2", Reply::Watching),
            ("USING a-b", Reply::Using),
            ("DRAINING", Reply::Denied(Denial::Draining)),
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), Some(reply), "{line}");
        }
    }

    #[test]
    fn what_no_server_says_is_not() {
        for line in [
            "",
            " ",
            "INSERTED",
            "INSERTED x",
            "INSERTED +7",
            "INSERTED -7",
            "INSERTED 7 ",
            "INSERTED  7",
            "INSERTED 9223372036854775808",
            "INSERTED 99999999999999999999",
            "RESERVED 7",
            "RESERVED 7 8 9",
            "OK -1",
            "deleted",
            "DELETED 7",
            "HTTP/1.1 400 Bad Request",
            "BURIED é",
        ] {
            assert_eq!(Reply::parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Reply::parse(b"USING \xff"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_reply_or_none(line in proptest::collection::vec(any::<u8>(), 0..MAX_LINE)) {
            let _ = Reply::parse(&line);
        }
    }
}
