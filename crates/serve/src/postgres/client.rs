//! One connected client: its settings, its prepared statements, and the running statement, which it may cancel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::cancel::CancelHandler;
use datafusion_postgres::pgwire::error::PgWireResult;
use datafusion_postgres::pgwire::messages::ProtocolVersion;
use datafusion_postgres::pgwire::messages::cancel::CancelRequest;
use datafusion_postgres::pgwire::messages::startup::SecretKey;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::errors::{code, error};
use super::login::Login;
use super::run::RunningStatement;
use super::session::Sessions;
use super::settings::Settings;

/// Concurrent clients. A dashboard has few readers, and each may keep a statement's rows waiting.
pub const MAX_CLIENTS: usize = 16;

/// Statements that a client may keep prepared.
const MAX_PREPARED: usize = 500;

/// The state that all clients share.
#[derive(Debug)]
pub struct Shared {
    /// Makes the sessions of statements.
    pub sessions: Sessions,
    /// The threads of statements.
    pub workers: Handle,
    /// Who may log in.
    pub login: Login,
    /// How many clients may be connected.
    pub places: Arc<Semaphore>,
    cancels: Cancels,
}

/// The clients by their number and secret key, to cancel by.
#[derive(Debug, Default)]
struct Cancels {
    clients: Mutex<BTreeMap<i32, (SecretKey, Arc<Cancel>)>>,
    next: AtomicI32,
}

/// The way to end a client's statement.
type Cancel = Mutex<CancellationToken>;

/// One client.
#[derive(Debug)]
pub struct Client {
    /// The state shared with other clients.
    pub shared: Arc<Shared>,
    number: i32,
    cancel: Arc<Cancel>,
    state: Mutex<ClientState>,
}

#[derive(Debug, Default)]
struct ClientState {
    settings: Settings,
    /// Texts that PREPARE has named.
    prepared: BTreeMap<String, String>,
    /// Names that protocol messages have given to statements and portals.
    names: BTreeSet<(Named, String)>,
}

/// A kind of named object of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    /// A prepared statement.
    Statement,
    /// A statement with its values.
    Portal,
}

impl Shared {
    /// For a server whose statements run on `workers`.
    pub fn new(sessions: Sessions, workers: Handle, login: Login) -> Self {
        Self { sessions, workers, login, places: Arc::new(Semaphore::new(MAX_CLIENTS)), cancels: Cancels::default() }
    }
}

impl Client {
    /// A client that has just connected.
    pub fn new(shared: Arc<Shared>) -> Self {
        let number = shared.cancels.next.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Self { shared, number, cancel: Arc::default(), state: Mutex::default() }
    }

    /// Allows it to cancel its statements; returns the number and the key for that.
    pub fn enroll(&self, version: ProtocolVersion) -> (i32, SecretKey) {
        let key = match version {
            ProtocolVersion::PROTOCOL3_0 => SecretKey::I32(rand::random()),
            _ => SecretKey::Bytes(rand::random::<[u8; 32]>().to_vec().into()),
        };
        lock(&self.shared.cancels.clients).insert(self.number, (key.clone(), Arc::clone(&self.cancel)));
        (self.number, key)
    }

    /// A statement that begins now, with its time limit.
    pub fn begin(&self) -> RunningStatement {
        let cancelled = CancellationToken::new();
        *lock(&self.cancel) = cancelled.clone();
        RunningStatement::begin(self.shared.workers.clone(), cancelled, self.settings(Settings::statement_timeout))
    }

    /// Reads its settings.
    pub fn settings<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        look(&lock(&self.state).settings)
    }

    /// Changes them.
    pub fn change_settings<T>(&self, change: impl FnOnce(&mut Settings) -> T) -> T {
        change(&mut lock(&self.state).settings)
    }

    /// Keeps a text under a name.
    pub fn prepare(&self, name: &str, text: String) -> PgWireResult<()> {
        let prepared = &mut lock(&self.state).prepared;
        if prepared.contains_key(name) {
            return Err(error(code::DUPLICATE_STATEMENT, format!("prepared statement \"{name}\" already exists")));
        }
        if prepared.len() >= MAX_PREPARED {
            return Err(error(code::LIMIT, format!("the limit is {MAX_PREPARED} prepared statements")));
        }
        prepared.insert(name.to_owned(), text);
        Ok(())
    }

    /// The text of a name.
    pub fn prepared(&self, name: &str) -> PgWireResult<String> {
        lock(&self.state).prepared.get(name).cloned().ok_or_else(|| unknown(name))
    }

    /// Drops one text, or all.
    pub fn deallocate(&self, name: Option<&str>) -> PgWireResult<()> {
        let prepared = &mut lock(&self.state).prepared;
        match name {
            None => prepared.clear(),
            Some(name) => _ = prepared.remove(name).ok_or_else(|| unknown(name))?,
        }
        Ok(())
    }

    /// Notes a name that the client has given, within its limit.
    pub fn keep(&self, what: Named, name: &str) -> PgWireResult<()> {
        let names = &mut lock(&self.state).names;
        names.insert((what, name.to_owned()));
        if names.len() > MAX_PREPARED {
            names.remove(&(what, name.to_owned()));
            return Err(error(code::LIMIT, format!("the limit is {MAX_PREPARED} statements and portals")));
        }
        Ok(())
    }

    /// Notes that a name is free again.
    pub fn forget(&self, what: Named, name: &str) {
        lock(&self.state).names.remove(&(what, name.to_owned()));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        lock(&self.cancel).cancel();
        lock(&self.shared.cancels.clients).remove(&self.number);
    }
}

fn unknown(name: &str) -> datafusion_postgres::pgwire::error::PgWireError {
    error(code::NO_SUCH_STATEMENT, format!("prepared statement \"{name}\" does not exist"))
}

/// Cancels the statement of the client with the given number and key.
#[derive(Debug)]
pub struct Canceller(pub Arc<Shared>);

#[async_trait]
impl CancelHandler for Canceller {
    async fn on_cancel_request(&self, request: CancelRequest) {
        let clients = lock(&self.0.cancels.clients);
        if let Some((key, cancel)) = clients.get(&request.pid)
            && key.eq_value(&request.secret_key)
        {
            lock(cancel).cancel();
        }
    }
}

/// A panic while the lock was held left its data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
