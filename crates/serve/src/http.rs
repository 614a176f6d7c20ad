//! HTTP: one thread, one runtime, all routes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::app::App;
use super::guard::AllowedHost;
use super::{api, assets, guard, page, panel};

/// How many ports above the wanted one are tried.
const NEXT_PORTS: u16 = 64;

/// How long answers under way may take once the server is stopped; event streams end at once.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// Listens at `address`; with `or_next`, at one of the next ports if that one is in use.
pub fn bind(address: SocketAddr, or_next: bool) -> io::Result<TcpListener> {
    let mut first = None;
    for port in address.port()..=address.port().saturating_add(if or_next { NEXT_PORTS } else { 0 }) {
        match TcpListener::bind(SocketAddr::new(address.ip(), port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => first = first.or(Some(error)),
        }
    }
    Err(first.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// The page and the API, served.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<io::Result<()>>,
}

impl HttpServer {
    /// Serves `app` on a bound listener until [`stop`](Self::stop), also under names other than its address.
    pub fn start(listener: TcpListener, app: App, names: Vec<AllowedHost>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().name("http".to_owned()).spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let listener = guard::Connections::new(listener, guard::most_at_once());
                let routes = routes(Arc::new(app), address, names, &stopped);
                tokio::select! {
                    () = listener.serve(routes, stopped.clone()) => {}
                    () = async { stopped.cancelled().await; tokio::time::sleep(STOP_TIMEOUT).await } => {}
                }
                Ok(())
            });
            runtime.shutdown_background();
            served
        })?;
        Ok(Self { address, stop, thread })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it, after the answers under way.
    pub fn stop(self) {
        self.stop.cancel();
        if let Ok(Err(error)) = self.thread.join() {
            tracing::warn!("the page's server ended: {error}");
        }
    }
}

/// Every route, behind the guard.
pub fn routes(app: Arc<App>, address: SocketAddr, names: Vec<AllowedHost>, stop: &CancellationToken) -> Router {
    let routes = Router::new()
        .merge(assets::routes())
        .merge(page::routes(Arc::clone(&app), stop))
        .merge(panel::routes(Arc::clone(&app), stop))
        .merge(api::routes(app, stop))
        .fallback(page::nowhere);
    guard::protect(routes, address, names)
}
