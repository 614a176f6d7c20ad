//! How a client logs in.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::{
    DefaultServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{ClientInfo, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;
use tokio::sync::OwnedSemaphorePermit;

use super::client::{Client, MAX_CLIENTS};
use super::errors::{code, fatal};
use super::login::parameters;

/// How long a wrong password waits for its answer, so that many cannot be tried.
const WRONG_PASSWORD: Duration = Duration::from_millis(500);

/// One client's login.
pub struct Startup {
    client: Arc<Client>,
    exchange: Option<SASLAuthStartupHandler<DefaultServerParameterProvider>>,
    /// Its slot among the connected clients.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

/// Gives each client the number and the key for cancelling.
struct Enroll(Arc<Client>);

impl PidSecretKeyGenerator for Enroll {
    fn generate(&self, info: &dyn ClientInfo) -> (i32, SecretKey) {
        self.0.enroll(info.protocol_version())
    }
}

impl Startup {
    /// For a new client.
    pub fn new(client: Arc<Client>) -> Self {
        let exchange = client.shared.login.exchange();
        let exchange =
            exchange.map(|exchange| exchange.with_pid_secret_key_generator(Arc::new(Enroll(Arc::clone(&client)))));
        Self { client, exchange, place: Mutex::default() }
    }

    fn take_place(&self) -> PgWireResult<()> {
        let permit = Arc::clone(&self.client.shared.places).try_acquire_owned();
        let permit = permit.map_err(|_| {
            fatal(code::TOO_MANY_CONNECTIONS, format!("too many clients already: the limit is {MAX_CLIENTS}"))
        })?;
        *self.place.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(permit);
        Ok(())
    }
}

#[async_trait]
impl StartupHandler for Startup {
    async fn on_startup<C>(&self, info: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let PgWireFrontendMessage::Startup(startup) = &message {
            self.take_place()?;
            if self.exchange.is_none() {
                protocol_negotiation(info, startup).await?;
                save_startup_parameters_to_metadata(info, startup);
                let (number, key) = self.client.enroll(info.protocol_version());
                info.set_pid_and_secret_key(number, key);
                finish_authentication(info, &parameters()).await?;
            }
        }
        if let Some(exchange) = &self.exchange
            && let Err(refused) = exchange.on_startup(info, message).await
        {
            let PgWireError::InvalidPassword(_) = refused else { return Err(refused) };
            tokio::time::sleep(WRONG_PASSWORD).await;
            let user = info.metadata().get(METADATA_USER).cloned().unwrap_or_default();
            let message = format!("password authentication failed for user \"{user}\"");
            return Err(fatal(code::INVALID_PASSWORD, message));
        }
        if matches!(info.state(), PgWireConnectionState::ReadyForQuery) {
            self.client.change_settings(|settings| settings.start(info.metadata()));
        }
        Ok(())
    }
}
