//! One connection, from its first byte to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::pgwire::api::{ClientInfo as _, DefaultClient, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::response::{GssEncResponse, SslResponse};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};
use datafusion_postgres::pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::client::{Canceller, Client, Shared};
use super::errors::{code, fatal};
use super::service::{Prepared, Service};
use super::startup::Startup;
use super::wire::Wire;

/// How long a client may take to log in.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client that is logged in may be idle. Connection pools keep theirs for minutes.
const IDLE_TIMEOUT: Duration = Duration::from_hours(1);

/// How often a client with unanswered messages is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

type Socket = Framed<Wire, PgWireMessageServerCodec<Arc<Prepared>>>;

fn has_come_in(socket: &Socket) -> bool {
    use PgWireConnectionState::{AuthenticationInProgress, AwaitingSslRequest, AwaitingStartup};
    !matches!(socket.state(), AwaitingSslRequest | AwaitingStartup | AuthenticationInProgress)
}

/// Serves one client until it leaves, is disconnected, or violates the protocol.
pub async fn serve(
    socket: TcpStream,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let socket = socket.into_std()?;
    let watched = TcpStream::from_std(socket.try_clone()?)?;
    let socket = TcpStream::from_std(socket)?;
    let client = Arc::new(Client::new(Arc::clone(&shared)));
    let codec = PgWireMessageServerCodec::new(DefaultClient::new(address, false));
    let mut socket: Socket = Framed::new(Wire::new(socket), codec);
    let startup = Arc::new(Startup::new(Arc::clone(&client)));
    let service = Arc::new(Service::new(client));
    let canceller = Arc::new(Canceller(shared));
    let come_in_until = Instant::now() + STARTUP_TIMEOUT;
    loop {
        let until = if has_come_in(&socket) { Instant::now() + IDLE_TIMEOUT } else { come_in_until };
        let message = tokio::select! {
            () = stop.cancelled() => return say(&mut socket, code::SHUTDOWN, "terminating connection: the program ends").await,
            message = timeout_at(until, socket.next()) => message,
        };
        let message = match message {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(PgWireError::IoError(error)))) if error.kind() != io::ErrorKind::InvalidData => {
                return Err(error);
            }
            Ok(Some(Err(_))) => {
                return say(&mut socket, code::PROTOCOL_VIOLATION, "invalid message of the protocol").await;
            }
            Err(_) if has_come_in(&socket) => {
                return say(&mut socket, code::IDLE, "terminating connection: it was idle for too long").await;
            }
            Ok(None) | Err(_) => return Ok(()),
        };
        match message {
            PgWireFrontendMessage::Terminate(_) => return Ok(()),
            PgWireFrontendMessage::SslNegotiation(asked) => negotiate(&mut socket, &asked).await?,
            message => {
                let is_extended = message.is_extended_query();
                let handled = process_message(
                    message,
                    &mut socket,
                    Arc::clone(&startup),
                    Arc::clone(&service),
                    Arc::clone(&service),
                    Arc::new(NoopHandler),
                    Arc::clone(&canceller),
                );
                let handled = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = has_left(&watched) => return Ok(()),
                    handled = handled => handled,
                };
                if let Err(error) = handled {
                    if let PgWireError::IoError(error) = error {
                        return Err(error);
                    }
                    let error: ErrorInfo = error.into();
                    let ends = error.is_fatal();
                    process_error(&mut socket, PgWireError::UserError(Box::new(error)), is_extended).await?;
                    if ends {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Waits until the client has closed its end. While a statement runs its messages are not read, and without this it would
/// run on after the client has left.
async fn has_left(socket: &TcpStream) {
    // Data that it has sent meanwhile stays in the buffer.
    while let Ok(1..) = socket.peek(&mut [0]).await {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Neither TLS nor GSS is supported; a client that can do without continues.
async fn negotiate(socket: &mut Socket, asked: &SslNegotiationMetaMessage) -> io::Result<()> {
    match asked {
        SslNegotiationMetaMessage::PostgresSsl(_) => {
            socket.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await
        }
        SslNegotiationMetaMessage::PostgresGss(_) => {
            socket.send(PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse)).await
        }
        SslNegotiationMetaMessage::None => {
            socket.set_state(PgWireConnectionState::AwaitingStartup);
            Ok(())
        }
    }
}

/// Sends the reason why the connection ends.
async fn say(socket: &mut Socket, code: &str, message: &str) -> io::Result<()> {
    let info: ErrorInfo = fatal(code, message).into();
    socket.send(PgWireBackendMessage::ErrorResponse(info.into())).await
}
