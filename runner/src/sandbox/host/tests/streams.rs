//! `wasi:io`, and the standard streams.

use super::*;
use crate::job::LimitName;
use crate::sandbox::host::bindings::wasi::filesystem::types::{self, ErrorCode};
use crate::sandbox::host::bindings::wasi::io::error::HostError;
use crate::sandbox::host::bindings::wasi::io::streams::{self, HostOutputStream};
use crate::sandbox::host::io::{InputStream, IoError, MAX_CHUNK, OutputStream, Pollable, StreamError};

fn source(host: &mut Host, text: &str) -> Resource<InputStream> {
    host.table.push(InputStream::body(Body::from_bytes(text.as_bytes()))).unwrap()
}

/// The error that a guest gets for an operation that was not done.
fn failure<T: std::fmt::Debug>(host: &mut Host, outcome: Result<T, StreamError>) -> Resource<IoError> {
    match streams::Host::convert_stream_error(host, outcome.unwrap_err()).unwrap() {
        streams::StreamError::LastOperationFailed(error) => error,
        streams::StreamError::Closed => panic!("the stream should go on"),
    }
}

#[test]
fn a_stream_is_read_and_skipped_up_to_its_end_and_then_closed() {
    let Fixture { mut host, .. } = fixture();
    let stream = source(&mut host, "0123456789");
    assert_eq!(HostInputStream::read(&mut host, lend(&stream), 0).unwrap(), b"");
    assert_eq!(HostInputStream::skip(&mut host, lend(&stream), 3).unwrap(), 3);
    assert_eq!(HostInputStream::blocking_read(&mut host, lend(&stream), 2).unwrap(), b"34");
    assert_eq!(HostInputStream::blocking_skip(&mut host, lend(&stream), u64::MAX).unwrap(), 5);
    assert!(matches!(HostInputStream::read(&mut host, lend(&stream), 1), Err(StreamError::Closed)));
    assert!(matches!(HostInputStream::skip(&mut host, lend(&stream), 1), Err(StreamError::Closed)));
}

#[test]
fn a_read_returns_as_much_as_a_chunk_has_and_no_more() {
    let Fixture { mut host, .. } = fixture();
    let stream = source(&mut host, &"x".repeat(100_000));
    let read = HostInputStream::read(&mut host, lend(&stream), u64::MAX).unwrap();
    assert_eq!(read.len() as u64, MAX_CHUNK);
}

#[test]
fn what_is_spliced_has_left_one_stream_and_arrived_in_the_other() {
    let Fixture { mut host, .. } = fixture();
    let from = source(&mut host, "0123456789");
    let to = stderr::Host::get_stderr(&mut host).unwrap();
    assert_eq!(host.splice(lend(&to), lend(&from), 4).unwrap(), 4);
    assert_eq!(host.blocking_splice(lend(&to), lend(&from), u64::MAX).unwrap(), 6);
    assert!(matches!(host.splice(lend(&to), from, 1), Err(StreamError::Closed)));
    assert_eq!(host.into_remains().log.into_bytes(), b"0123456789");
}

#[test]
fn more_than_was_permitted_to_be_written_ends_the_guest() {
    let Fixture { mut host, .. } = fixture();
    let log = stderr::Host::get_stderr(&mut host).unwrap();
    assert_eq!(host.check_write(lend(&log)).unwrap(), MAX_CHUNK);
    HostOutputStream::write(&mut host, lend(&log), vec![b'x'; MAX_CHUNK as usize]).unwrap();
    host.write_zeroes(lend(&log), MAX_CHUNK).unwrap();
    let too_much = vec![b'x'; MAX_CHUNK as usize + 1];
    for refused in [
        HostOutputStream::write(&mut host, lend(&log), too_much.clone()),
        host.blocking_write_and_flush(lend(&log), too_much),
        host.write_zeroes(lend(&log), MAX_CHUNK + 1),
        host.blocking_write_zeroes_and_flush(lend(&log), u64::MAX),
    ] {
        assert!(matches!(refused, Err(StreamError::Trap(_))), "{refused:?}");
    }
}

#[test]
fn standard_output_is_the_result_of_a_command_and_the_log_of_an_algorithm() {
    for is_result in [true, false] {
        let Fixture { mut host, .. } = fixture_with(|capabilities, _| capabilities.stdout_is_result = is_result);
        let out = stdout::Host::get_stdout(&mut host).unwrap();
        HostOutputStream::write(&mut host, lend(&out), b"1".to_vec()).unwrap();
        host.write_zeroes(out, 2).unwrap();
        let written = b"1\0\0".to_vec();
        let remains = host.into_remains();
        let expected = if is_result { (Some(written), Vec::new()) } else { (None, written) };
        assert_eq!((remains.stdout, remains.log.into_bytes()), expected);
    }
}

#[test]
fn a_write_beyond_the_documents_limit_is_refused_remembered_and_explained() {
    let Fixture { mut host, scratch } = fixture_with(|_, limits| limits.document_size = 10);
    let out = stdout::Host::get_stdout(&mut host).unwrap();
    HostOutputStream::write(&mut host, lend(&out), b"0123456".to_vec()).unwrap();
    let refused = HostOutputStream::write(&mut host, lend(&out), b"7890".to_vec());
    let error = failure(&mut host, refused);
    let words = host.to_debug_string(lend(&error)).unwrap();
    assert_eq!(words, "InsufficientSpace");
    assert!(!words.contains(scratch.path().to_str().unwrap()));
    let code = types::Host::filesystem_error_code(&mut host, lend(&error)).unwrap();
    assert_eq!(code, Some(ErrorCode::InsufficientSpace));
    HostOutputStream::write(&mut host, lend(&out), b"789".to_vec()).unwrap();
    let remains = host.into_remains();
    let refusal = Refusal { limit: LimitName::DocumentSize, allowed: 10, observed: 11, share: "" };
    assert_eq!(remains.tree.quota.refused(), Some(refusal));
    assert_eq!(remains.stdout.as_deref(), Some(b"0123456789".as_slice()));
}

#[test]
fn an_error_of_no_file_has_no_code_of_the_file_system() {
    let Fixture { mut host, .. } = fixture();
    let error = host.table.push(IoError { message: "no file".to_owned(), cause: None }).unwrap();
    assert_eq!(types::Host::filesystem_error_code(&mut host, error).unwrap(), None);
}

#[test]
fn no_stream_keeps_its_guest_waiting() {
    let Fixture { mut host, .. } = fixture();
    let (from, to) = (source(&mut host, ""), host.table.push(OutputStream::Log).unwrap());
    for pollable in [HostInputStream::subscribe(&mut host, from), HostOutputStream::subscribe(&mut host, to)] {
        assert_eq!(host.table.get(&pollable.unwrap()).unwrap(), &Pollable::Ready);
    }
}
