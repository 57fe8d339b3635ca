//! `longboat worker`, `longboat serve` and `longboat up`: what they do before there is any thread but the first.

use super::{Node, block_on, confine, worker};
use crate::cli::{ServeArgs, WallArgs, WorkerArgs};
use crate::output;
use anyhow::Context;
use longboat::server;
use std::future::Future;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted; what tokio allows a listener of its own.
const BACKLOG: u32 = 1024;

pub fn work(node: &Node, worker: WorkerArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    confine::worker(node, walls)?;
    block_on(worker::work(node, worker, None))
}

pub fn serve(node: &Node, serve: &ServeArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    let socket = bind(node, serve)?;
    confine::server(node, walls)?;
    block_on(async {
        let (listener, queue) = (listen(socket)?, node.queue()?);
        server::serve(
            listener,
            server::router(queue, node.reader(), node.config.http.public_url.clone()),
            terminated()?,
        )
        .await?;
        Ok(true)
    })
}

/// Serves for as long as the worker works.
pub fn up(node: &Node, worker: WorkerArgs, serve: &ServeArgs, walls: &WallArgs) -> anyhow::Result<bool> {
    let socket = bind(node, serve)?;
    confine::worker(node, walls)?;
    block_on(async {
        let (listener, queue) = (listen(socket)?, node.queue()?);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let router = server::router(Arc::clone(&queue), node.reader(), node.config.http.public_url.clone());
        let server = tokio::spawn(server::serve(listener, router, async { drop(ended.await) }));
        let worked = worker::work(node, worker, Some(queue)).await;
        drop(end);
        server.await?.context("serving results failed")?;
        worked
    })
}

/// Takes the port, which nobody can any more once the walls stand.
fn bind(node: &Node, args: &ServeArgs) -> anyhow::Result<TcpSocket> {
    let address = args.listen.unwrap_or(node.config.http.listen);
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A node that is started again must not wait until its old connections are forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok::<_, std::io::Error>(socket)
    };
    bind().with_context(|| format!("listening on {address} failed; name another address with --listen"))
}

fn listen(socket: TcpSocket) -> anyhow::Result<TcpListener> {
    let address = socket.local_addr()?;
    let listener = socket
        .listen(BACKLOG)
        .with_context(|| format!("listening on {address} failed; name another address with --listen"))?;
    output::tell(format_args!("results at http://{address}/<id>"));
    Ok(listener)
}

fn terminated() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
