//! The same provenance gives the same bytes for the same fuel, in another process too.

use crate::guests;
use crate::support::{argument, run};
use flate2::Compression;
use flate2::write::GzEncoder;
use longboat_tests::program::Longboat;
use longboat_tests::{build, sample};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

const PINNED: [&str; 4] = ["--seed", "7", "--clock", "2026-11-21T18:00:00Z"];

/// What must be alike between two runs. The id of a run is a new one each time, so it is left out.
fn alike(module: &Path, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    // A node of its own each time, so that nothing is shared through the disk either.
    alike_at(&Longboat::new()?, module, arguments)
}

fn alike_at(node: &Longboat, module: &Path, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
    let (mut document, code) = run(node, [argument(module)?].iter().chain(&PINNED).chain(arguments))?;
    assert_eq!(code, Some(0), "{document}");
    let parts = ["result", "files", "provenance"].map(|part| document[part].take());
    let usage = ["fuel", "peak_memory", "input_bytes", "result_bytes"].map(|figure| document["usage"][figure].take());
    Ok(parts.into_iter().chain(usage).collect())
}

#[test]
fn two_runs_of_an_algorithm_differ_in_nothing() -> anyhow::Result<()> {
    let (demand, case) = (sample("forecast", "demand.csv"), sample("power-flow", "case30.json"));
    for (algorithm, arguments) in [
        ("forecast", &["--input", argument(&demand)?, "--param=horizon=4"][..]),
        ("power-flow", &["--input", argument(&case)?]),
        ("storage", &["--param=scenarios=20"]),
    ] {
        let module = build::algorithm(algorithm)?;
        assert_eq!(alike(&module, arguments)?, alike(&module, arguments)?, "{algorithm}");
    }
    Ok(())
}

#[test]
fn clocks_dice_addresses_and_directories_are_alike_in_two_runs() -> anyhow::Result<()> {
    let core = guests::rust("greedy")?;
    let arguments = ["--param=want=dice", "--input=data:,same"];
    for module in [guests::wrapped(&core)?, core] {
        let first = alike(&module, &arguments)?;
        assert_eq!(first, alike(&module, &arguments)?);
        assert_eq!(first[0]["names"], serde_json::json!(["a", "b"]), "names are in order, whatever was made first");
    }
    Ok(())
}

#[test]
fn another_seed_throws_other_dice_and_another_clock_shows_another_time() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("greedy")?;
    let throw = |seed: &str, clock: &str| {
        let arguments = [argument(&module)?, "--param=want=dice", "--seed", seed, "--clock", clock];
        run(&node, arguments).map(|(document, _)| document["result"].clone())
    };
    let (first, second) = (throw("1", "2000-01-01T00:00:00Z")?, throw("2", "2000-01-01T00:00:01Z")?);
    assert_ne!(first["hashed"], second["hashed"]);
    let time = |result: &Value| result["now"].as_str().and_then(|now| now.parse::<u64>().ok()).unwrap_or(0);
    // 2000-01-01 is 946,684,800 seconds after 1970; a second of fuel is more than the guest burns.
    assert_eq!([time(&first), time(&second)].map(|time| time / 1_000_000_000), [946_684_800, 946_684_801]);
    Ok(())
}

/// How a server sends a body.
#[derive(Debug, Clone, Copy)]
enum Manner {
    AtOnce,
    /// In small chunks of many sizes, with pauses.
    Dribbling,
    Compressed,
}

/// A server that sends a body in one manner, whoever asks for what.
fn serve(body: Arc<[u8]>, manner: Manner) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // What a client does not take shows in its result.
            let _ = send(stream, &body, manner);
        }
    });
    Ok(address)
}

fn send(mut stream: TcpStream, body: &[u8], manner: Manner) -> std::io::Result<()> {
    let _ = stream.read(&mut [0; 4096])?;
    stream.set_nodelay(true)?;
    let head = |headers: &str| format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n\r\n").into_bytes();
    match manner {
        Manner::AtOnce => stream.write_all(&[&head(&format!("content-length: {}", body.len())), body].concat()),
        Manner::Dribbling => {
            stream.write_all(&head("transfer-encoding: chunked"))?;
            let mut rest = body;
            for size in (1..7000).step_by(977).cycle() {
                let (chunk, more) = rest.split_at(rest.len().min(size));
                let chunk = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
                if rest.is_empty() {
                    break;
                }
                stream.write_all(&chunk)?;
                thread::sleep(Duration::from_millis(1));
                rest = more;
            }
            stream.write_all(b"0\r\n\r\n")
        }
        Manner::Compressed => {
            stream.write_all(&head("content-encoding: gzip"))?;
            let mut encoder = GzEncoder::new(stream, Compression::fast());
            encoder.write_all(body)?;
            encoder.finish().map(drop)
        }
    }
}

#[test]
fn how_an_input_is_sent_makes_no_difference() -> anyhow::Result<()> {
    let module = guests::rust("sipper")?;
    // One that is kept in memory, and one that is kept in a file.
    for size in [60_000, 1_500_000] {
        let body: Arc<[u8]> = (0..size).map(|place: u32| (place % 251) as u8).collect();
        let mut seen = Vec::new();
        for manner in [Manner::AtOnce, Manner::Dribbling, Manner::Compressed] {
            let address = serve(Arc::clone(&body), manner)?;
            let node = Longboat::new()?;
            node.allow_input(address)?;
            seen.push((manner, alike_at(&node, &module, &["--input", &format!("http://{address}/")])?));
        }
        assert_eq!(seen[0].1[0]["bytes"], size);
        for (manner, other) in &seen[1..] {
            assert_eq!(&seen[0].1, other, "{size} bytes, {manner:?}");
        }
    }
    Ok(())
}
