//! `longboat serve` and `longboat up`.

use super::{Node, worker};
use crate::cli::{ServeArgs, WorkerArgs};
use anyhow::Context;
use longboat::server;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

pub async fn serve(node: &Node, args: &ServeArgs) -> anyhow::Result<bool> {
    let (listener, queue) = (listen(node, args).await?, node.queue()?);
    server::serve(listener, server::router(queue, node.reader()), terminated()?).await?;
    Ok(true)
}

/// Serves for as long as the worker works.
pub async fn up(node: &Node, worker: WorkerArgs, serve: &ServeArgs) -> anyhow::Result<bool> {
    let (listener, queue) = (listen(node, serve).await?, node.queue()?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let router = server::router(Arc::clone(&queue), node.reader());
    let server = tokio::spawn(server::serve(listener, router, async { drop(ended.await) }));
    let worked = worker::work(node, worker, Some(queue)).await;
    drop(end);
    server.await?.context("serving results failed")?;
    worked
}

async fn listen(node: &Node, args: &ServeArgs) -> anyhow::Result<TcpListener> {
    let address = args.listen.unwrap_or(node.config.http.listen);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on {address} failed; name another address with --listen"))?;
    eprintln!("results at http://{}/<id>", listener.local_addr()?);
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
