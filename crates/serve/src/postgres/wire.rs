//! A socket that bounds the size of a client's messages, and how long it may leave data unread.
//!
//! The protocol's messages carry their own lengths, up to a gigabyte, and are buffered whole. So the lengths are read here
//! as they pass, and one beyond all need ends the connection before its body is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutWriter;

use super::text::MAX_SQL_BYTES;

/// Bytes of one message from a client: a statement, or the values of its parameters.
const MAX_MESSAGE_BYTES: usize = 4 * MAX_SQL_BYTES;

/// How long a client may leave data unread.
const UNREAD: Duration = Duration::from_mins(1);

/// The socket.
pub struct Wire {
    socket: Pin<Box<TimeoutWriter<TcpStream>>>,
    frames: Frames,
}

impl Wire {
    /// A new connection.
    pub fn new(socket: TcpStream) -> Self {
        let mut socket = TimeoutWriter::new(socket);
        socket.set_timeout(Some(UNREAD));
        Self { socket: Box::pin(socket), frames: Frames::default() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = self.socket.as_mut().poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = read
            && !self.frames.pass(&buffer.filled()[before..])
        {
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.as_mut().poll_shutdown(context)
    }
}

/// Follows the lengths of messages through a stream of bytes.
#[derive(Debug, Default)]
struct Frames {
    /// Whether messages have a first byte with their type: all but those before the session begins.
    typed: bool,
    header: Vec<u8>,
    /// Bytes of the current message that are still to come.
    left: usize,
}

/// The version of the protocol in the message that begins a session; others of that form carry a code of their own.
const MAJOR_VERSION: u32 = 3;

impl Frames {
    /// Whether these bytes are within the limits of messages.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = self.left.min(bytes.len());
            (bytes, self.left) = (&bytes[taken..], self.left - taken);
            // A length after the type, or a length and a code.
            let wanted = if self.typed { 5 } else { 8 };
            while self.left == 0 && self.header.len() < wanted {
                let Some((first, rest)) = bytes.split_first() else { return true };
                self.header.push(*first);
                bytes = rest;
                if self.header.len() == wanted && !self.begin() {
                    return false;
                }
            }
        }
        true
    }

    /// Reads a message's header; false where its length is beyond all need.
    fn begin(&mut self) -> bool {
        let number =
            |from: usize| self.header[from..from + 4].iter().fold(0, |sum: u32, byte| (sum << 8) | u32::from(*byte));
        let (length, seen) = if self.typed { (number(1), 4) } else { (number(0), 8) };
        let begins_session = !self.typed && number(4) >> 16 == MAJOR_VERSION;
        self.header.clear();
        self.typed |= begins_session;
        let length = length as usize;
        self.left = length.saturating_sub(seen);
        (seen..=MAX_MESSAGE_BYTES).contains(&length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_pass_however_they_are_cut() {
        // A request for TLS, the start of a session, a query, a sync.
        let bytes = b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x0f\0\x03\0\0user\0a\0Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04";
        for size in 1..=bytes.len() {
            let mut frames = Frames::default();
            assert!(bytes.chunks(size).all(|part| frames.pass(part)), "cut by {size}");
            assert_eq!((frames.typed, frames.left, frames.header.len()), (true, 0, 0), "cut by {size}");
        }
    }

    #[test]
    fn an_excessive_length_does_not_pass() {
        let typed = || Frames { typed: true, ..Frames::default() };
        assert!(!typed().pass(b"Q\x3f\0\0\0"));
        assert!(!typed().pass(b"Q\xff\xff\xff\xff"));
        assert!(!typed().pass(b"Q\0\0\0\x03"));
        // A browser that was made to post here.
        assert!(!Frames::default().pass(b"POST / HTTP/1.1\r\n"));
    }
}
