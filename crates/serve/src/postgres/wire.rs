//! A socket that bounds what a client may send at once, and how long it may leave what it is sent unread.
//!
//! The protocol's messages carry their own lengths, up to a gigabyte, and are buffered whole. So the lengths are read here
//! as they pass, and one that nobody needs ends the connection before its body is taken in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::text::MAX_SQL_BYTES;

/// Bytes of one message from a client: a statement, or the values of its parameters.
const MAX_MESSAGE_BYTES: usize = 4 * MAX_SQL_BYTES;

/// How long a client may leave what it is sent unread.
const UNREAD: Duration = Duration::from_mins(1);

/// The socket.
pub struct Wire {
    socket: TcpStream,
    frames: Frames,
    unread: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    /// A connection that has just been made.
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, frames: Frames::default(), unread: None }
    }

    /// Ends the patience of a write that has waited for too long.
    fn patience<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.unread = None;
            return poll;
        }
        let unread = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + UNREAD)));
        match unread.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
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
        let poll = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.patience(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(context);
        self.patience(poll, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_shutdown(context);
        self.patience(poll, context)
    }
}

/// Follows the lengths of messages through a stream of bytes.
#[derive(Debug, Default)]
struct Frames {
    /// Whether messages have a first byte that says what they are: all but those before the session begins.
    typed: bool,
    header: Vec<u8>,
    /// Bytes of the current message that are still to come.
    left: usize,
}

/// The version of the protocol in the message that begins a session; others of that form carry a code of their own.
const MAJOR_VERSION: u32 = 3;

impl Frames {
    /// Whether these bytes are within what messages may be.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let taken = self.left.min(bytes.len());
            (bytes, self.left) = (&bytes[taken..], self.left - taken);
            // A length behind the type, or a length and a code.
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

    /// Takes in a message's header; false where its length is none that anybody needs.
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
    fn a_length_that_nobody_needs_does_not_pass() {
        let typed = || Frames { typed: true, ..Frames::default() };
        assert!(!typed().pass(b"Q\x3f\0\0\0"));
        assert!(!typed().pass(b"Q\xff\xff\xff\xff"));
        assert!(!typed().pass(b"Q\0\0\0\x03"));
        // A browser that was told to post here.
        assert!(!Frames::default().pass(b"POST / HTTP/1.1\r\n"));
    }
}
