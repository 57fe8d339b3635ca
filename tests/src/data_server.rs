//! Serves files over real HTTP on a loopback port.

use anyhow::Context;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;

type Files = Arc<BTreeMap<String, PathBuf>>;

/// A server for a few files, which ends with its task's runtime.
#[derive(Debug, Clone, Copy)]
pub struct DataServer {
    address: SocketAddr,
}

impl DataServer {
    /// Serves each file under its own name, on a port that the system chooses.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(files: impl IntoIterator<Item = PathBuf>) -> anyhow::Result<Self> {
        let files: BTreeMap<_, _> = files
            .into_iter()
            .filter_map(|path| Some((path.file_name()?.to_string_lossy().into_owned(), path)))
            .collect();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("listening on a loopback port failed")?;
        let address = listener.local_addr()?;
        let router = Router::new().route("/{name}", get(serve)).with_state(Arc::new(files));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }
}

async fn serve(State(files): State<Files>, Path(name): Path<String>) -> impl IntoResponse {
    let Some(path) = files.get(&name) else { return (StatusCode::NOT_FOUND, HeaderMap::new(), Vec::new()) };
    match tokio::fs::read(path).await {
        Ok(bytes) => {
            let kind = if name.ends_with(".json") { "application/json" } else { "text/csv" };
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, header::HeaderValue::from_static(kind))]);
            (StatusCode::OK, headers, bytes)
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new(), Vec::new()),
    }
}
