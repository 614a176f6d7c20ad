//! The wire: JSON calls, answers and events of all tabs over one WebSocket.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::log::Log;
use crate::support::TIME_LIMIT;

/// How long a read waits before its caller checks the clock.
const READ: Duration = Duration::from_millis(20);

/// A picture of a wall screen comes as one message.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// A connection to the browser.
pub struct CdpConnection {
    socket: WebSocket<TcpStream>,
    last_id: u64,
    /// By session, which is a tab.
    logs: HashMap<String, Log>,
}

impl CdpConnection {
    pub fn open(port: u16, path: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the browser listens");
        stream.set_nodelay(true).expect("a socket");
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE_BYTES))
            .max_frame_size(Some(MAX_MESSAGE_BYTES));
        let address = format!("ws://127.0.0.1:{port}{path}");
        let (socket, _) = tungstenite::client::client_with_config(address.as_str(), stream, Some(config))
            .unwrap_or_else(|error| panic!("{address}: {error}"));
        socket.get_ref().set_read_timeout(Some(READ)).expect("a socket");
        Self { socket, last_id: 0, logs: HashMap::new() }
    }

    /// Sends without waiting for an answer; returns the call's id.
    pub fn send(&mut self, session: Option<&str>, method: &str, parameters: Value) -> u64 {
        self.last_id += 1;
        let mut call = json!({ "id": self.last_id, "method": method });
        call["params"] = parameters;
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        // The next read reports a browser that has ended.
        self.socket.send(Message::text(call.to_string())).ok();
        self.last_id
    }

    /// Calls and waits for the result.
    #[track_caller]
    pub fn call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        self.try_call(session, method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same where the browser may refuse.
    #[track_caller]
    pub fn try_call(&mut self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value, String> {
        let id = self.send(session, method, parameters);
        let deadline = Instant::now() + TIME_LIMIT;
        loop {
            assert!(Instant::now() < deadline, "no answer to {method} within {TIME_LIMIT:?}");
            // Answers to calls without a waiter are skipped.
            let Some(mut message) = self.receive().filter(|message| message["id"] == id) else { continue };
            return match message.get("error") {
                Some(error) => Err(error["message"].as_str().unwrap_or("an error").to_owned()),
                None => Ok(message["result"].take()),
            };
        }
    }

    /// Takes in the messages that arrive within this time.
    pub fn listen(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            self.receive();
        }
    }

    /// The log of a tab.
    pub fn log(&mut self, session: &str) -> &mut Log {
        self.logs.entry(session.to_owned()).or_default()
    }

    /// The next answer, if one arrives soon; events are added to the logs.
    fn receive(&mut self) -> Option<Value> {
        let text = match self.socket.read() {
            Ok(Message::Text(text)) => text,
            Ok(_) => return None,
            Err(Error::Io(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            Err(error) => panic!("the browser has ended: {error}"),
        };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        if message.get("id").is_some() {
            return Some(message);
        }
        let (Some(method), Some(session)) = (message["method"].as_str(), message["sessionId"].as_str()) else {
            return None;
        };
        self.log(session).note(method, &message["params"]);
        if method == "Page.javascriptDialogOpening" {
            // There is no user to answer, and until then the tab is blocked.
            self.send(Some(session), "Page.handleJavaScriptDialog", json!({ "accept": false }));
        }
        None
    }
}
