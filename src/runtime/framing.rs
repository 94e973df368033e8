//! Refuses HTTP/1 requests whose end two readers could see in different places (RFC 9112 sections 2.2 and 6.3), or that two
//! could take to be for different hosts (section 3.2).
//!
//! Flows in: a connection's bytes on their way to hyper, which is lenient: it takes a bare LF for a line end, lets
//! Transfer-Encoding win over Content-Length, and accepts one length, and the host, twice. Flows out: the same bytes, or a NUL at the
//! start of the line that settles the offence and then the end, so that hyper answers 400, or sees half a head, and closes.
//! Behind a chunked request the bytes are no longer followed; `serve` closes the connection after its answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More of one line than this is left for hyper's own limit to refuse.
const LONGEST_LINE: usize = 64 * 1024;
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";

/// A connection watched while its HTTP/1 heads are read.
#[derive(Debug)]
pub(crate) struct Framing<S> {
    stream: S,
    follow: Follow,
}

#[derive(Debug, Default)]
struct Follow {
    place: Place,
    /// The start of a line whose end has not arrived.
    partial: Vec<u8>,
}

#[derive(Debug)]
enum Place {
    Head(Head),
    Body(u64),
    /// HTTP/2 or a chunked body: nothing more to follow.
    Opaque,
    /// Nothing more is read.
    Refused,
}

#[derive(Debug, Default)]
struct Head {
    lines: usize,
    lengths: usize,
    length: u64,
    encodings: usize,
    hosts: usize,
}

/// The message's end, or its host, is ambiguous.
#[derive(Debug, PartialEq, Eq)]
struct Ambiguous;

// === impl Follow ===

impl Default for Place {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Follow {
    /// Follows newly read bytes and spoils the one that settles an offence.
    fn advance(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Opaque | Place::Refused => return,
                Place::Body(left) => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left = left.saturating_sub(here as u64);
                    if *left == 0 {
                        self.place = Place::default();
                    }
                    bytes = bytes.split_at_mut(here).1;
                }
                Place::Head(_) => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        return self.keep(bytes);
                    };
                    let (line, rest) = bytes.split_at_mut(end + 1);
                    if self.line(line) == Err(Ambiguous) {
                        // Not at its end: hyper parses only once it sees the head's empty line.
                        if let Some(first) = line.first_mut() {
                            *first = 0;
                        }
                        self.place = Place::Refused;
                    }
                    bytes = rest;
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.partial.len() + bytes.len() > LONGEST_LINE {
            self.place = Place::Opaque;
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        if self.partial.is_empty() {
            return self.whole_line(line);
        }
        let mut whole = std::mem::take(&mut self.partial);
        whole.extend_from_slice(line);
        self.whole_line(&whole)
    }

    fn whole_line(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        let Place::Head(head) = &mut self.place else { return Ok(()) };
        let Some(content) = line.strip_suffix(b"\r\n") else { return Err(Ambiguous) };
        if content.is_empty() {
            if head.lines > 0 {
                self.place = head.end();
            }
            return Ok(());
        }
        if head.lines == 0 && line == HTTP2_PREFACE {
            self.place = Place::Opaque;
            return Ok(());
        }
        if head.lines == 0 && content.contains(&b'#') {
            // No part of a request target (RFC 9112 section 3.2). What parses it would drop what follows, and a proxy that
            // sends it might not have: the path decided on would be another than the one asked for.
            return Err(Ambiguous);
        }
        head.lines += 1;
        head.field(content)
    }
}

// === impl Head ===

impl Head {
    fn field(&mut self, line: &[u8]) -> Result<(), Ambiguous> {
        // Only three names matter; most lines end here. A carriage return inside a line is refused by hyper.
        if !matches!(line.first(), Some(b'c' | b'C' | b'h' | b'H' | b't' | b'T')) {
            return Ok(());
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Ok(()) };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            self.lengths += 1;
            let digits = value.get(1..).unwrap_or_default().trim_ascii();
            self.length = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Ambiguous)?;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.encodings += 1;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        }
        if self.lengths + self.encodings > 1 || self.hosts > 1 { Err(Ambiguous) } else { Ok(()) }
    }

    fn end(&self) -> Place {
        match (self.encodings, self.length) {
            (0, 0) => Place::default(),
            (0, length) => Place::Body(length),
            _ => Place::Opaque,
        }
    }
}

// === impl Framing ===

impl<S> Framing<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, follow: Follow::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framing<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.follow.place, Place::Refused) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if let Some(fresh) = buf.filled_mut().get_mut(before..) {
            this.follow.advance(fresh);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the bytes pass unspoilt, however they are cut.
    fn passes(text: &str) -> bool {
        let verdicts: Vec<bool> = [1, 2, 7, text.len()]
            .into_iter()
            .map(|cut| {
                let mut follow = Follow::default();
                let mut bytes = text.as_bytes().to_vec();
                bytes.chunks_mut(cut).for_each(|piece| follow.advance(piece));
                bytes == text.as_bytes()
            })
            .collect();
        assert!(verdicts.windows(2).all(|pair| pair[0] == pair[1]), "cutting {text:?} changes the verdict");
        verdicts[0]
    }

    #[test]
    fn ordinary_requests_pass_one_after_another() {
        let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n";
        for text in [get, post, chunked, &format!("{get}{post}{get}"), &format!("\r\n{post}{chunked}")] {
            assert!(passes(text), "{text:?}");
        }
        assert!(passes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\n\n"));
    }

    #[test]
    fn ambiguous_ends_are_spoilt() {
        for head in [
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\ncontent-length: 4\r\n",
            "Content-Length: 4\r\nContent-Length: 4\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Content-Length: +4\r\nHost: a\n",
            "Content-Length: 4, 4\r\n",
            "Host: a\nX: b\r\n",
        ] {
            assert!(!passes(&format!("POST / HTTP/1.1\r\n{head}\r\n")), "{head:?}");
        }
        assert!(!passes("GET / HTTP/1.1\n\n"));
    }

    #[test]
    fn a_second_host_is_spoilt_whatever_it_says() {
        for head in ["Host: a\r\nHost: b\r\n", "Host: a\r\nAccept: */*\r\nhost: a\r\n"] {
            assert!(!passes(&format!("GET / HTTP/1.1\r\n{head}\r\n")), "{head:?}");
        }
    }

    #[test]
    fn a_second_request_is_judged_too() {
        let good = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab";
        assert!(!passes(&format!("{good}GET / HTTP/1.1\nHost: a\r\n\r\n")));
    }
}
