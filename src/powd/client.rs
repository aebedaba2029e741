//! A lean HTTP/1.1 client of the service, for load and for tests: one connection, kept alive, one request at a time.
//!
//! Bodies can be written beforehand ([`VerifyBody`]), so that a load generator spends its time on sending. Every
//! call has a time limit. A request is never sent twice: only a connection that is found closed *before* sending is made anew.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::proof::Proof;

/// Longest time to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Longest time for a request and its answer; longer than the service's own limit, so that its answer is heard.
const ANSWER_LIMIT: Duration = Duration::from_secs(35);

/// Largest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no connection.
    #[error("could not connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection failed; whether the request was served is not known.
    #[error("could not get an answer from {address}")]
    Http {
        /// From where.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: hyper::Error,
    },
    /// The answer stopped halfway, or is too large.
    #[error("could not read the answer of {address}")]
    Answer {
        /// From where.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("could not get an answer from {address} within {} s", limit.as_secs())]
    TimedOut {
        /// From where.
        address: SocketAddr,
        /// How long it was waited.
        limit: Duration,
    },
    /// The service refused the request, or something else answered.
    #[error("could not verify at {address}: it answered {status}: {body}")]
    Refused {
        /// From where.
        address: SocketAddr,
        /// The status of the answer.
        status: u16,
        /// The start of its body.
        body: String,
    },
    /// The request can't be written.
    #[error("could not write the request")]
    Request(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A request to verify, written beforehand. Clones share the text.
#[derive(Debug, Clone)]
pub struct VerifyBody {
    text: Bytes,
    proofs: u64,
}

impl VerifyBody {
    /// One proof as an object, any other number as a list.
    ///
    /// # Errors
    /// When a proof can't be written as JSON.
    pub fn new(proofs: &[Proof]) -> Result<Self, ClientError> {
        let text = match proofs {
            [one] => serde_json::to_vec(one),
            many => serde_json::to_vec(many),
        };
        let text = text.map_err(|error| ClientError::Request(error.into()))?;
        Ok(Self { text: text.into(), proofs: proofs.len() as u64 })
    }
}

/// What came of the proofs of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reply {
    /// Accepted: right, new, durable.
    pub accepted: u64,
    /// Rejected, each with a reason.
    pub rejected: u64,
    /// Not looked at: the service had no room (429).
    pub overloaded: u64,
    /// Not recorded: the ledger was away or too slow (503).
    pub unavailable: u64,
}

/// A connection to the service.
#[derive(Debug)]
pub struct PowdClient {
    address: SocketAddr,
    host: HeaderValue,
    /// None during an exchange and after a failed one, whose rest must not be taken for the next answer.
    link: Option<Link>,
}

/// An open connection; its task ends with it.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        let connect = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address));
        let stream =
            connect.await.map_err(|_| ClientError::TimedOut { address, limit: CONNECT_LIMIT })?;
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|source| ClientError::Connect { address, source })?;
        let shaken = handshake(TokioIo::new(stream)).await;
        let (sender, connection) =
            shaken.map_err(|source| ClientError::Http { address, source })?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the service ended badly");
            }
        });
        Ok(Self { sender, task })
    }
}

impl PowdClient {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens there, or not in time.
    pub async fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        let host = HeaderValue::from_str(&address.to_string());
        let host = host.map_err(|error| ClientError::Request(error.into()))?;
        Ok(Self { address, host, link: Some(Link::open(address).await?) })
    }

    /// Has proofs verified: one, or a list of up to [`MAX_PROOFS`](super::wire::MAX_PROOFS).
    ///
    /// # Errors
    /// When there is no answer, or the service refuses the request for another reason than load.
    pub async fn verify(&mut self, proofs: &[Proof]) -> Result<Reply, ClientError> {
        self.verify_body(&VerifyBody::new(proofs)?).await
    }

    /// The same with a request that was written beforehand.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_body(&mut self, body: &VerifyBody) -> Result<Reply, ClientError> {
        /// The counts of a list; what follows them is skipped.
        #[derive(Deserialize)]
        struct Counts {
            accepted: u64,
            rejected: u64,
        }
        let (status, answer) = self.send(Method::POST, "/v1/verify", body.text.clone()).await?;
        match (status, body.proofs) {
            (StatusCode::OK, 1) => return Ok(Reply { accepted: 1, ..Reply::default() }),
            (StatusCode::UNPROCESSABLE_ENTITY, 1) => {
                return Ok(Reply { rejected: 1, ..Reply::default() });
            }
            (StatusCode::OK, _) => {
                if let Ok(Counts { accepted, rejected }) = serde_json::from_slice(&answer) {
                    return Ok(Reply { accepted, rejected, ..Reply::default() });
                }
            }
            (StatusCode::TOO_MANY_REQUESTS, proofs) => {
                return Ok(Reply { overloaded: proofs, ..Reply::default() });
            }
            (StatusCode::SERVICE_UNAVAILABLE, proofs) => {
                return Ok(Reply { unavailable: proofs, ..Reply::default() });
            }
            _ => {}
        }
        let body = String::from_utf8_lossy(&answer).chars().take(500).collect();
        Err(ClientError::Refused { address: self.address, status: status.as_u16(), body })
    }

    /// Gets a path such as `/readyz`: its status and body, whatever they are.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&mut self, path: &str) -> Result<(u16, Bytes), ClientError> {
        let (status, body) = self.send(Method::GET, path, Bytes::new()).await?;
        Ok((status.as_u16(), body))
    }

    /// Posts a JSON body to a path: the status and body of the answer, whatever they are.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&mut self, path: &str, body: Bytes) -> Result<(u16, Bytes), ClientError> {
        let (status, body) = self.send(Method::POST, path, body).await?;
        Ok((status.as_u16(), body))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.host.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(body))
            .map_err(|error| ClientError::Request(error.into()))?;
        let address = self.address;
        // Taken out for the exchange, and put back only when it is over: also when this future is dropped halfway.
        let mut link = match self.link.take() {
            Some(link) if !link.sender.is_closed() => link,
            _ => Link::open(address).await?,
        };
        let exchange = exchange(&mut link.sender, request, address);
        let done = tokio::time::timeout(ANSWER_LIMIT, exchange).await;
        let answer = done.map_err(|_| ClientError::TimedOut { address, limit: ANSWER_LIMIT })??;
        self.link = Some(link);
        Ok(answer)
    }
}

async fn exchange(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    address: SocketAddr,
) -> Result<(StatusCode, Bytes), ClientError> {
    let http = |source| ClientError::Http { address, source };
    sender.ready().await.map_err(http)?;
    let response = sender.send_request(request).await.map_err(http)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
    let body = body.map_err(|source| ClientError::Answer { address, source })?;
    Ok((status, body.to_bytes()))
}
