//! Who may log in: on loopback anyone, beyond it with the password (SCRAM-SHA-256).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use datafusion_postgres::pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password};
use datafusion_postgres::pgwire::error::PgWireResult;

use super::settings::SERVER_VERSION;

/// The environment variable of the password.
pub const PASSWORD_VARIABLE: &str = "TALLGRASS_PG_PASSWORD";

/// Characters of a password at least, where other machines can try.
const SHORTEST_PASSWORD: usize = 8;

/// What clients must prove. The password itself is not kept, only its verifier.
#[derive(Clone)]
pub struct Login(Option<Arc<Secret>>);

#[derive(Clone)]
struct Secret {
    salt: Vec<u8>,
    salted: Vec<u8>,
}

/// Why no client could log in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Other machines could connect, and there is no password.
    #[error(
        "{0} is not loopback: the Postgres protocol needs a password there (--pg-password-file FILE, or {PASSWORD_VARIABLE} \
         in the environment)"
    )]
    NoPassword(SocketAddr),
    /// A password that is easy to guess.
    #[error("a password of fewer than {SHORTEST_PASSWORD} characters is too short for an address that is not loopback")]
    TooShort,
    /// The file has no password.
    #[error("{} has no password in its first line", .0.display())]
    Empty(PathBuf),
    /// The file cannot be read.
    #[error("cannot read the password file {}", path.display())]
    File {
        /// Its name.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Login {
    /// For a server that listens at `address`: the password is the first line of a file, or the environment variable.
    /// Without either anyone may log in from this machine.
    pub fn new(address: SocketAddr, file: Option<&Path>, environment: Option<String>) -> Result<Self, LoginError> {
        let password = match file {
            None => environment.filter(|password| !password.is_empty()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| LoginError::File { path: path.to_owned(), source })?;
                let line = text.lines().next().unwrap_or_default().to_owned();
                Some(line)
                    .filter(|line| !line.is_empty())
                    .ok_or_else(|| LoginError::Empty(path.to_owned()))
                    .map(Some)?
            }
        };
        let loopback = address.ip().is_loopback();
        match password {
            None if loopback => Ok(Self(None)),
            None => Err(LoginError::NoPassword(address)),
            Some(password) if !loopback && password.chars().count() < SHORTEST_PASSWORD => Err(LoginError::TooShort),
            Some(password) => {
                let salt = rand::random::<[u8; 16]>().to_vec();
                let salted = gen_salted_password(&password, &salt, SCRAM_ITERATIONS);
                Ok(Self(Some(Arc::new(Secret { salt, salted }))))
            }
        }
    }

    /// The exchange in which one client proves that it knows the password; `None` where it need not.
    pub fn exchange(&self) -> Option<SASLAuthStartupHandler<DefaultServerParameterProvider>> {
        let secret = Arc::clone(self.0.as_ref()?);
        let scram = ScramAuth::new(Arc::new(AnyUser(secret)));
        Some(SASLAuthStartupHandler::new(Arc::new(parameters())).with_scram(scram))
    }
}

/// The server's parameters, sent to a client after its login.
pub fn parameters() -> DefaultServerParameterProvider {
    let mut parameters = DefaultServerParameterProvider::default();
    SERVER_VERSION.clone_into(&mut parameters.server_version);
    "ISO, MDY".clone_into(&mut parameters.date_style);
    "UTC".clone_into(&mut parameters.time_zone);
    parameters.is_superuser = false;
    parameters.default_transaction_read_only = true;
    parameters
}

/// One password, whatever the name.
struct AnyUser(Arc<Secret>);

#[async_trait]
impl AuthSource for AnyUser {
    async fn get_password(&self, _login: &LoginInfo) -> PgWireResult<Password> {
        Ok(Password::new(Some(self.0.salt.clone()), self.0.salted.clone()))
    }
}

impl fmt::Debug for AnyUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyUser")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Login(password)" } else { "Login(trust)" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_a_password_is_needed() {
        let here: SocketAddr = "127.0.0.1:5433".parse().unwrap();
        let open: SocketAddr = "0.0.0.0:5433".parse().unwrap();
        let login = |address, password: Option<&str>| Login::new(address, None, password.map(str::to_owned));
        assert!(login(here, None).unwrap().exchange().is_none());
        assert!(login(here, Some("")).unwrap().exchange().is_none());
        assert!(login(here, Some("x")).unwrap().exchange().is_some());
        assert!(matches!(login(open, None), Err(LoginError::NoPassword(_))));
        assert!(matches!(login(open, Some("")), Err(LoginError::NoPassword(_))));
        assert!(matches!(login(open, Some("short")), Err(LoginError::TooShort)));
        assert!(login(open, Some("long enough")).unwrap().exchange().is_some());
    }

    #[test]
    fn a_files_first_line_is_the_password() {
        let here: SocketAddr = "127.0.0.1:5433".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        assert!(matches!(Login::new(here, Some(&file), None), Err(LoginError::File { .. })));
        std::fs::write(&file, "\nsecret").unwrap();
        assert!(matches!(Login::new(here, Some(&file), None), Err(LoginError::Empty(_))));
        std::fs::write(&file, "secret\r\nand a remark\n").unwrap();
        let login = Login::new(here, Some(&file), Some("from the environment".to_owned())).unwrap();
        let secret = login.0.unwrap();
        assert_eq!(secret.salted, gen_salted_password("secret", &secret.salt, SCRAM_ITERATIONS));
    }
}
