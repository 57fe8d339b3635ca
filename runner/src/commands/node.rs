//! `longboat serve` and `longboat up`.

use super::{Node, worker};
use crate::cli::{ServeArgs, WorkerArgs};
use anyhow::Context;
use longboat::queue::Queue;
use longboat::results::Results;
use longboat::server;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

pub async fn serve(node: &Node, args: &ServeArgs) -> anyhow::Result<bool> {
    let (listener, queue, results) = (listen(node, args).await?, node.queue()?, node.results()?);
    server::serve(listener, server::router(queue, results), terminated()?).await?;
    Ok(true)
}

/// Serves for as long as the worker works.
pub async fn up(node: &Node, worker: WorkerArgs, serve: &ServeArgs) -> anyhow::Result<bool> {
    let (listener, queue, results): (_, Arc<dyn Queue>, Arc<Results>) =
        (listen(node, serve).await?, node.queue()?, node.results()?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let router = server::router(Arc::clone(&queue), Arc::clone(&results));
    let server = tokio::spawn(server::serve(listener, router, async { drop(ended.await) }));
    let worked = worker::work(node, worker, Some((queue, results))).await;
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
