//! How fast result documents are read over HTTP, against nginx that serves the same bytes as files.
//!
//! `wrk` reads from both in turn with 32 connections. Then one client reads one document after another on
//! one kept connection. nginx and wrk must be installed (`apt-get install nginx-light wrk`).

use anyhow::{Context, ensure};
use longboat_benches::contest::is_measuring;
use longboat_benches::node::{Jobs, Node};
use longboat_benches::{noop, table};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 32;
const ROUNDS: usize = 7;
/// Reads on the kept connection.
const READS: usize = 2_000;
/// nginx is waited for as long as this.
const START: Duration = Duration::from_secs(5);

/// The two sizes asked for: the result's own length, and the length of the job's `data:` URL.
const SIZES: [(usize, usize); 2] = [(10, 0), (5_700, 100_000)];

fn main() -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let module = directory.path().join("echo.wasm");
    longboat_tests::build::ensure_target()?;
    noop::rustc("echo", &module, &["--target", longboat_tests::build::TARGET])?;
    let node = Node::at(&directory.path().join("node"), "echo", &module)?;
    let ids = work(&node)?;
    let longboat = node.serve()?;
    let nginx = Nginx::start(&directory.path().join("nginx"))?;
    let (mut rates, mut waits) = (Vec::new(), Vec::new());
    for id in &ids {
        let own = format!("{}/{id}", longboat.url);
        let document = Kept::open(&own)?.read()?;
        let name = format!("{}.json", document.len());
        nginx.keep(&name, &document)?;
        let theirs = format!("{}/{name}", nginx.url);
        ensure!(Kept::open(&theirs)?.read()? == document, "nginx serves other bytes");
        let size = format!("{:.1} KB", document.len() as f64 / 1e3);
        rates.push(compare(size.clone(), &own, &theirs)?);
        waits.push(one_after_another(size, &own)?);
    }
    let header = ["document", "Longboat, reads a second", "nginx, reads a second", "of nginx (asked: 0.33)"];
    table::print("Result documents over HTTP, 32 connections", &header, rates);
    let header = ["document", "median", "99 of 100 below", "longest"];
    table::print("One read after another on one kept connection (asked: 1 ms)", &header, waits);
    Ok(())
}

/// Runs one job for each size and returns their ids.
fn work(node: &Node) -> anyhow::Result<Vec<String>> {
    let job = |(result, url): (usize, usize)| {
        let mut job = json!({"algorithm": "echo", "params": {"x": "y".repeat(result)}});
        if url > 0 {
            job["input"] = json!(format!("data:,{}", "z".repeat(url)));
        }
        job
    };
    node.submit(&SIZES.map(job).into_iter().collect::<Jobs>())?;
    node.work(&["--until-empty"])?;
    let records = node.records()?;
    ensure!(records.len() == SIZES.len(), "not all jobs are listed");
    let id = |record: &Value| {
        ensure!(record["state"] == "done", "a job is not done: {record}");
        record["id"].as_str().map(str::to_owned).context("a job has an id")
    };
    // The list is in order of submission.
    records.iter().map(id).collect()
}

/// Reads from both in turn; the ratio is the median of the rounds' own.
fn compare(size: String, own: &str, theirs: &str) -> anyhow::Result<Vec<String>> {
    let (mut longboat, mut nginx, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..if is_measuring() { ROUNDS } else { 1 } {
        let (mine, other) = (wrk(own)?, wrk(theirs)?);
        longboat.push(mine);
        nginx.push(other);
        ratios.push(mine / other);
    }
    let rate = |rates| format!("{:.0}", quantile(rates, 0.5));
    Ok(vec![size, rate(longboat), rate(nginx), format!("{:.2}", quantile(ratios, 0.5))])
}

/// Reads a second with all connections, as wrk counts them.
fn wrk(url: &str) -> anyhow::Result<f64> {
    let seconds = if is_measuring() { 3 } else { 1 };
    let (connections, duration) = (format!("-c{CONNECTIONS}"), format!("-d{seconds}"));
    let output = Command::new("wrk").args(["-t2", &connections, &duration, url]).output();
    let output = output.context("wrk could not be started; install it: apt-get install wrk")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "not all reads were answered: {said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    rate.with_context(|| format!("wrk says no rate: {said}"))
}

fn one_after_another(size: String, url: &str) -> anyhow::Result<Vec<String>> {
    let mut kept = Kept::open(url)?;
    let mut times = Vec::new();
    for _ in 0..if is_measuring() { READS } else { 10 } {
        let start = Instant::now();
        kept.read()?;
        times.push(start.elapsed().as_secs_f64());
    }
    let figures = [0.5, 0.99, 1.0].map(|part| table::seconds(quantile(times.clone(), part)));
    Ok(std::iter::once(size).chain(figures).collect())
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A connection on which one URL is read again and again.
struct Kept {
    stream: BufReader<TcpStream>,
    request: String,
}

impl Kept {
    fn open(url: &str) -> anyhow::Result<Self> {
        let rest = url.strip_prefix("http://").context("an http URL")?;
        let (host, path) = rest.split_once('/').context("a URL with a path")?;
        let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        Ok(Self { stream: BufReader::new(TcpStream::connect(host)?), request })
    }

    fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        self.stream.get_mut().write_all(self.request.as_bytes())?;
        let mut length: Option<usize> = None;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200 "), "the answer is {line}");
        while line != "\r\n" {
            line.clear();
            ensure!(self.stream.read_line(&mut line)? > 0, "the answer ends within its head");
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse()?);
            }
        }
        let mut body = vec![0; length.context("the answer has a length")?];
        self.stream.read_exact(&mut body)?;
        Ok(body)
    }
}

/// An nginx of its own, with as many workers as cores.
struct Nginx {
    process: Child,
    root: PathBuf,
    url: String,
}

impl Nginx {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let root = directory.join("root");
        fs::create_dir_all(&root)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let here = directory.display();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {here}/{kind}; "))
            .collect();
        // If root starts it, its workers must still be able to read here; for other users the first line
        // has no effect.
        let config = format!(
            "user root;\n\
             daemon off; worker_processes auto; pid {here}/pid; error_log {here}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; {paths}\n\
             default_type application/json; open_file_cache max=1000;\n\
             server {{ listen {address}; root {here}/root; }} }}\n"
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-e").arg(directory.join("error.log")).arg("-c").arg(file);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let process = process.context("nginx could not be started; install it: apt-get install nginx-light")?;
        let nginx = Self { process, root, url: format!("http://{address}") };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < deadline, "nginx does not answer; see {here}/error.log");
            sleep(Duration::from_millis(10));
        }
        Ok(nginx)
    }

    fn keep(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(fs::write(self.root.join(name), bytes)?)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it only if it is asked to end.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}
