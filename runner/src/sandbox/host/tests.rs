//! What the host answers, function by function; ARCHITECTURE.md has the table of interfaces.

mod files;
mod streams;

use super::bindings::longboat::algorithm::inputs::{self, HostInput};
use super::bindings::longboat::algorithm::process;
use super::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use super::bindings::wasi::io::streams::HostInputStream;
use super::bindings::wasi::random::{insecure, insecure_seed, random};
use super::*;
use crate::sandbox::limits::Refusal;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use std::time::{Duration, Instant};
use wasmtime::component::Resource;

/// A host, and the directory for the contents of its guest's files, which is removed with it.
struct Fixture {
    host: Host,
    scratch: tempfile::TempDir,
}

fn fixture() -> Fixture {
    fixture_with(|_, _| {})
}

/// A host with no inputs, seed 7, and a clock that starts a second after 1970, but for what `change` makes
/// of that.
fn fixture_with(change: impl FnOnce(&mut Capabilities, &mut Limits)) -> Fixture {
    let scratch = tempfile::tempdir().unwrap();
    let mut capabilities = Capabilities {
        inputs: BTreeMap::new(),
        scratch: Dir::open_ambient_dir(scratch.path(), ambient_authority()).unwrap().into(),
        environment: Vec::new(),
        stdout_is_result: true,
        seed: 7,
        clock: Timestamp::from_second(1).unwrap(),
        progress: None,
        live_log: None,
    };
    let mut limits = Limits::default();
    change(&mut capabilities, &mut limits);
    let stop = Arc::new(Stop::at(Instant::now() + Duration::from_secs(60)));
    Fixture { host: Host::new(capabilities, &limits, Metering::IN_GUEST, stop), scratch }
}

/// A host with these inputs.
fn fixture_of_inputs(inputs: &[(&str, &str)]) -> Fixture {
    fixture_with(|capabilities, _| {
        let body = |text: &str| Body::from_bytes(text.as_bytes());
        capabilities.inputs = inputs.iter().map(|(name, text)| ((*name).to_owned(), body(text))).collect();
    })
}

/// The same handle once more: a call takes the one that it is given.
fn lend<T: 'static>(handle: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(handle.rep())
}

#[test]
fn there_are_no_terminals() {
    let Fixture { mut host, .. } = fixture();
    assert!(terminal_stdin::Host::get_terminal_stdin(&mut host).unwrap().is_none());
    assert!(terminal_stdout::Host::get_terminal_stdout(&mut host).unwrap().is_none());
    assert!(terminal_stderr::Host::get_terminal_stderr(&mut host).unwrap().is_none());
}

#[test]
fn every_way_to_exit_ends_the_guest_and_keeps_its_code() {
    let Fixture { mut host, .. } = fixture();
    let code = |ended: wasmtime::Result<()>| ended.unwrap_err().downcast_ref::<Exit>().copied();
    assert_eq!(code(exit::Host::exit(&mut host, Ok(()))), Some(Exit(0)));
    assert_eq!(code(exit::Host::exit(&mut host, Err(()))), Some(Exit(1)));
    assert_eq!(code(exit::Host::exit_with_code(&mut host, 65)), Some(Exit(65)));
    assert_eq!(code(process::Host::exit(&mut host, 70_000)), Some(Exit(70_000)));
}

#[test]
fn the_environment_is_what_was_given_and_not_the_workers() {
    assert!(std::env::vars().next().is_some(), "this process has an environment that a guest could be shown");
    let Fixture { mut host, .. } = fixture();
    assert_eq!(environment::Host::get_environment(&mut host).unwrap(), []);
    let given = vec![("B".to_owned(), "2".to_owned()), ("A".to_owned(), String::new())];
    let Fixture { mut host, .. } = fixture_with(|capabilities, _| capabilities.environment.clone_from(&given));
    assert_eq!(environment::Host::get_environment(&mut host).unwrap(), given);
    assert_eq!(environment::Host::get_arguments(&mut host).unwrap(), ["algorithm"]);
    assert_eq!(environment::Host::initial_cwd(&mut host).unwrap().as_deref(), Some("/result"));
}

/// The first random numbers of every kind that a guest with this seed gets: bytes, insecure bytes, and a
/// seed.
fn dice(seed: u64) -> (Vec<u8>, Vec<u8>, (u64, u64)) {
    let Fixture { mut host, .. } = fixture_with(|capabilities, _| capabilities.seed = seed);
    let mut bytes = random::Host::get_random_bytes(&mut host, 16).unwrap();
    bytes.extend(random::Host::get_random_u64(&mut host).unwrap().to_le_bytes());
    let mut insecure = insecure::Host::get_insecure_random_bytes(&mut host, 16).unwrap();
    insecure.extend(insecure::Host::get_insecure_random_u64(&mut host).unwrap().to_le_bytes());
    (bytes, insecure, insecure_seed::Host::insecure_seed(&mut host).unwrap())
}

#[test]
fn all_random_numbers_follow_from_the_seed() {
    let (bytes, insecure, seed) = dice(7);
    assert_eq!(dice(7), (bytes.clone(), insecure.clone(), seed));
    assert_ne!(bytes, insecure, "the two generators are not the same");
    let other = dice(8);
    assert!(other.0 != bytes && other.1 != insecure && other.2 != seed);
}

#[test]
fn what_is_drawn_of_one_generator_does_not_move_the_other() {
    let Fixture { mut host, .. } = fixture();
    insecure::Host::get_insecure_random_bytes(&mut host, 1000).unwrap();
    assert_eq!(random::Host::get_random_bytes(&mut host, 16).unwrap(), dice(7).0[..16]);
}

#[test]
fn random_bytes_are_given_a_mebibyte_at_a_time() {
    let Fixture { mut host, .. } = fixture();
    assert_eq!(random::Host::get_random_bytes(&mut host, 1 << 20).unwrap().len(), 1 << 20);
    for length in [(1 << 20) + 1, u64::MAX] {
        assert!(random::Host::get_random_bytes(&mut host, length).is_err());
        assert!(insecure::Host::get_insecure_random_bytes(&mut host, length).is_err());
    }
}

/// All that an input stream has, a few bytes at a time.
fn read_to_end(host: &mut Host, stream: &Resource<io::InputStream>) -> String {
    let mut bytes = Vec::new();
    while let Ok(more) = HostInputStream::blocking_read(host, lend(stream), 3) {
        bytes.extend(more);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn inputs_come_in_the_order_of_their_names_and_each_opening_reads_from_the_beginning() {
    let Fixture { mut host, .. } = fixture_of_inputs(&[("right", "world!"), ("left", "hello")]);
    let all = inputs::Host::all(&mut host).unwrap();
    let seen: Vec<_> = (all.iter())
        .map(|input| (host.name(lend(input)).unwrap(), HostInput::size(&mut host, lend(input)).unwrap()))
        .collect();
    assert_eq!(seen, [("left".to_owned(), 5), ("right".to_owned(), 6)]);
    let first = HostInput::open(&mut host, lend(&all[1])).unwrap();
    assert_eq!(HostInputStream::read(&mut host, lend(&first), 2).unwrap(), b"wo");
    let second = HostInput::open(&mut host, lend(&all[1])).unwrap();
    assert_eq!(read_to_end(&mut host, &second), "world!");
    assert_eq!(read_to_end(&mut host, &first), "rld!", "the other stream is where it was");
}

#[test]
fn standard_input_is_the_one_called_input_or_the_only_one_or_empty() {
    for (inputs, expected) in [
        (&[("only", "1")][..], "1"),
        (&[("a", "1"), ("input", "2")][..], "2"),
        (&[("a", "1"), ("b", "2")][..], ""),
        (&[][..], ""),
    ] {
        let Fixture { mut host, .. } = fixture_of_inputs(inputs);
        let stream = stdin::Host::get_stdin(&mut host).unwrap();
        assert_eq!(read_to_end(&mut host, &stream), expected, "{inputs:?}");
    }
}
