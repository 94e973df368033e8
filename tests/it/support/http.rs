//! An HTTP/1.1 client that sends exactly the bytes a test asks for and reads the answer; no library corrects or refuses them.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

/// A request as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Request {
    start: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { start: format!("{method} {target} HTTP/1.1"), headers: Vec::new(), body: Vec::new() }
    }

    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A form, as OAuth endpoints take it. Values are percent-encoded here.
    pub fn form(target: &str, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request = Self::new("POST", target).header("content-type", "application/x-www-form-urlencoded");
        request.body = body.into_bytes();
        request
    }

    pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("content-type", content_type)
    }

    /// Adds a header as it is; the same name may be added twice.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        use base64::Engine;
        let value = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.header("authorization", &format!("Basic {value}"))
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        let mut line = |name: &str, value: &str| text.extend([name, ": ", value, "\r\n"]);
        if !self.has("host") {
            line("host", host);
        }
        if !self.has("content-length") && !self.has("transfer-encoding") && !self.body.is_empty() {
            line("content-length", &self.body.len().to_string());
        }
        line("connection", "close");
        for (name, value) in &self.headers {
            line(name, value);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it over the connection that this makes, and reads the whole answer.
    pub async fn send_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        connect: impl Future<Output = std::io::Result<S>>,
        to: SocketAddr,
    ) -> std::io::Result<Response> {
        exchange(connect, &self.bytes(&to.to_string())).await
    }

    /// Sends it and reads the whole answer; a connection that fails or ends early is the error.
    pub async fn send(&self, to: SocketAddr) -> std::io::Result<Response> {
        raw(to, &self.bytes(&to.to_string())).await
    }
}

/// Sends these bytes and reads the answer until the connection ends.
pub async fn raw(to: SocketAddr, bytes: &[u8]) -> std::io::Result<Response> {
    exchange(TcpStream::connect(to), bytes).await
}

/// The same over a unix socket.
pub async fn raw_unix(to: &Path, bytes: &[u8]) -> std::io::Result<Response> {
    exchange(UnixStream::connect(to), bytes).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    connect: impl Future<Output = std::io::Result<S>>,
    bytes: &[u8],
) -> std::io::Result<Response> {
    let exchange = async {
        let mut stream = connect.await?;
        // A server that refuses early may take no more, and may reset the connection after its answer: what came counts.
        let sent = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer).await;
        match Response::parse(&answer) {
            Some(response) => Ok(response),
            None => Err(sent.err().or(ended.err()).unwrap_or_else(|| std::io::ErrorKind::UnexpectedEof.into())),
        }
    };
    timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let rest = &bytes[end + 4..];
        let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
        Some(Self { status, headers, body })
    }

    /// The first header of this name, given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The token an issuer answered with.
    pub fn access_token(&self) -> String {
        self.json()["access_token"].as_str().unwrap_or_else(|| panic!("no token in {self:?}")).to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = self.text();
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &body)
            .finish()
    }
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.split(';').next()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
