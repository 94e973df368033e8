//! A kept-alive HTTP/1.1 connection, as a proxy holds it to a verifier.
//!
//! Flows in: a request's bytes. Flows out: status and body, or how the connection failed. A connection that had been kept and
//! turns out closed is opened once more, as every client does; a fresh one that fails is a failure.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Wire {
    kept: Option<(SocketAddr, TcpStream)>,
}

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Wire {
    pub async fn send(&mut self, to: SocketAddr, request: &[u8]) -> Result<Answer> {
        let kept = self.kept.take().filter(|(address, _)| *address == to);
        if let Some((_, mut stream)) = kept
            && let Ok(answer) = self.exchange(to, &mut stream, request).await
        {
            return Ok(self.keep(to, stream, answer));
        }
        let mut stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let answer = self.exchange(to, &mut stream, request).await?;
        Ok(self.keep(to, stream, answer))
    }

    fn keep(&mut self, to: SocketAddr, stream: TcpStream, (answer, closes): (Answer, bool)) -> Answer {
        self.kept = (!closes).then_some((to, stream));
        answer
    }

    async fn exchange(&self, to: SocketAddr, stream: &mut TcpStream, request: &[u8]) -> Result<(Answer, bool)> {
        let exchange = async {
            stream.write_all(request).await?;
            read(stream).await
        };
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, to.to_string())))
    }
}

async fn read(stream: &mut TcpStream) -> Result<(Answer, bool)> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 8192]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        match stream.read(&mut chunk).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let malformed = || Error::new(ErrorKind::InvalidData, head.clone());
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let length = field("content-length:").map_or(Ok(0), |length| length.parse().map_err(|_| malformed()))?;
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match stream.read(&mut chunk).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => body.extend_from_slice(&chunk[..read]),
        }
    }
    Ok((Answer { status, body }, field("connection:") == Some("close")))
}
