//! What a server says that calls itself beanstalkd.

use crate::guest::RUNTIME;
use crate::{Target, texts};
use longboat::intake::{Body, Client, ClientError};
use longboat::job::Tube;
use std::time::{Duration, Instant};
use tokio::io::{AsyncWriteExt as _, DuplexStream};

/// The server closes its side in every case, so none waits for a timeout of the client's.
const LATE: Duration = Duration::from_secs(5);
/// The longest job document there is, so the longest body that is kept.
const AT_MOST: usize = 4 << 20;

/// Answers to a command, which the first byte chooses.
pub const TARGET: Target = Target {
    name: "beanstalkd",
    check,
    cases: 10_000,
    largest: 600,
    samples: || {
        texts([
            "rRESERVED 7 5\r\nhello\r\n",
            "rTIMED_OUT\r\n",
            "rDEADLINE_SOON\r\n",
            "rRESERVED 7 0\r\n\r\n",
            "rRESERVED 7 4194305\r\nx",
            "pUSING default\r\nINSERTED 12\r\n",
            "pUSING default\r\nBURIED 12\r\nDELETED\r\n",
            "pUSING default\r\nJOB_TOO_BIG\r\n",
            "wWATCHING 2\r\nWATCHING 1\r\n",
            "dDELETED\r\n",
            "dNOT_FOUND\r\n",
            "lRELEASED\r\n",
            "bBURIED\r\n",
            "tTOUCHED\r\n",
            "kKICKED\r\n",
            "eFOUND 7 2\r\nhi\r\n",
            "jOK 147\r\n---\nid: 7\ntube: default\nstate: reserved\npri: 10\nage: 0\ndelay: 0\nttr: 5\ntime-left: 4\n\
             file: 1\nreserves: 1\ntimeouts: 0\nreleases: 0\nburies: 0\nkicks: 0\n\r\n",
            "uOK 154\r\n---\nname: default\ncurrent-jobs-ready: 1\ncurrent-jobs-reserved: 0\ncurrent-jobs-delayed: 0\n\
             current-jobs-buried: 0\npause: 4294967295\npause-time-left: 4294967294\n\r\n",
            "sOK 175\r\n---\ncurrent-jobs-ready: 0\ncurrent-jobs-reserved: 0\ncurrent-jobs-delayed: 0\n\
             current-jobs-buried: 0\nmax-job-size: 65535\nhostname: \"ship\"\nbinlog-current-index: 1\ndraining: false\n\r\n",
        ])
    },
    words: &[
        "RESERVED ",
        "FOUND ",
        "OK ",
        "INSERTED ",
        "BURIED",
        "USING ",
        "WATCHING ",
        "KICKED ",
        "NOT_FOUND\r\n",
        "DRAINING\r\n",
        "OUT_OF_MEMORY\r\n",
        "INTERNAL_ERROR\r\n",
        "BAD_FORMAT\r\n",
        "UNKNOWN_COMMAND\r\n",
        "EXPECTED_CRLF\r\n",
        "NOT_IGNORED\r\n",
        "\r\n",
        "\n",
        "\r",
        "---\n",
        ": ",
        "- ",
        "\"",
        " ",
        "-1",
        "reserves: ",
        "state: buried\n",
        "tube: ",
        "pause-time-left: -9223372036854775808\n",
        "\0",
        "é",
    ],
    reached: &["done", "nothing", "denied", "malformed", "ended"],
};

/// A command is done, finds nothing, is denied, or else the connection is given up; whatever is kept is bounded.
pub fn check(bytes: &[u8]) -> &'static str {
    let Some((&command, said)) = bytes.split_first() else { return "no command" };
    let started = Instant::now();
    let (answer, usable, again) = RUNTIME.block_on(async {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let said = said.to_vec();
        let server = tokio::spawn(async move {
            // A client that has heard enough ends the connection.
            let _ = far.write_all(&said).await;
            let _ = far.shutdown().await;
            let _ = tokio::io::copy(&mut far, &mut tokio::io::sink()).await;
        });
        let mut client = Client::new(near);
        let answer = ask(&mut client, command).await;
        let usable = client.is_usable();
        let again = client.touch(1).await;
        drop(client);
        server.await.expect("the server has no bug");
        (answer, usable, again)
    });
    assert!(started.elapsed() < LATE, "it took {:?}", started.elapsed());
    assert_eq!(usable, !matches!(again, Err(ClientError::GivenUp)), "what is given up stays so");
    match answer {
        Ok(is_something) => {
            assert!(usable);
            if is_something { "done" } else { "nothing" }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() < 1_000 && !message.contains(char::is_control), "{message:?}");
            assert_eq!(usable, matches!(error, ClientError::Denied(_)), "{error}");
            match error {
                ClientError::Denied(_) => "denied",
                ClientError::Malformed(_) => "malformed",
                ClientError::Connection(_) => "ended",
                ClientError::Silent(_) | ClientError::GivenUp => panic!("the server has closed its side: {error}"),
            }
        }
    }
}

/// Gives a command, and says whether it has come to something.
async fn ask(client: &mut Client<DuplexStream>, command: u8) -> Result<bool, ClientError> {
    let tube = Tube::default();
    match command {
        b'p' => client.put(&tube, 1, 0, 1, b"hello").await.map(|_| true),
        b'w' => {
            let tubes = ["a".parse().expect("a name"), "b".parse().expect("a name")];
            client.watch(&tubes).await.map(|()| true)
        }
        b'd' => client.delete(7).await,
        b'l' => client.release(7, 1, 1).await,
        b'b' => client.bury(7, 1).await,
        b't' => client.touch(7).await,
        b'k' => client.kick_job(7).await,
        b'e' => Ok(client.peek(7).await?.map(within).is_some()),
        b'j' => Ok(client.stats_job(7).await?.is_some()),
        b'u' => Ok(client.stats_tube(&tube).await?.is_some()),
        b's' => client.hostname().await.map(|name| !name.is_empty()),
        _ => Ok(client.reserve().await?.map(|reserved| within(reserved.body)).is_some()),
    }
}

/// No more of a body is kept than any job may have.
fn within(body: Body) {
    match body {
        Body::Whole(bytes) => assert!(bytes.len() <= AT_MOST, "{} bytes", bytes.len()),
        Body::TooLong { length, head } => assert!(length > AT_MOST && head.len() < 1_000, "{length}, {}", head.len()),
    }
}
