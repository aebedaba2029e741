//! The service over HTTP: what is asked, and how it is answered.
//!
//! ```text
//! POST /v1/verify        one proof, or a list (see `wire`)
//!   one, accepted        200 {"accepted":true,"id":"8f43.."}
//!   one, rejected        422 {"accepted":false,"reason":"replayed","detail":".."}
//!   a list               200 {"accepted":1,"rejected":1,"results":[{"accepted":true,..},{"accepted":false,..}]}
//! GET /v1/proofs/ID      200 {"id":"8f43..","format":"challenge","accepted_at":1796083200123}, or 404
//! GET /healthz           200 while the process answers at all
//! GET /readyz            200 while it would accept proofs: it does not stop, and the ledger answers
//! GET /metrics           Prometheus' text format
//! anything else          4xx or 5xx {"error":{"code":"..","message":"..","help":".."}}
//! ```
//! Refused whole: 400 `bad_body`, 413 `body_too_large` and `too_many_proofs`, 415 `not_json`, 429 `overloaded` with
//! `Retry-After`, 503 `ledger_unavailable` and `timed_out`. No refusal records anything that is later called new,
//! except that a proof whose answer was lost with `timed_out` or `ledger_unavailable` may turn out to be replayed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::fields::{Entry, Malformed};
use super::ledger::{Ledger, LedgerError};
use super::metrics::{Gauges, Metrics};
use super::proof::{Format, Proof, ProofId, Verdict};
use super::reason::Reason;
use super::wire::{self, ReadError, Submission};
use super::worker::{Intake, Refusal};
use crate::clock::Clock;

/// Largest body, in bytes.
const MAX_BODY: usize = 1 << 20;

/// Longest time from a request's head to its answer.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// Longest time that the ledger may take to say that it is there.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// What the answers are made from.
pub struct App {
    /// Where proofs are handed in.
    pub intake: Intake,
    /// What is recorded.
    pub ledger: Arc<Ledger>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What time it is.
    pub clock: Clock,
    /// When the service started.
    pub started: Instant,
    /// Most proofs of one request.
    pub max_proofs: usize,
    /// Cancelled when the service stops.
    pub stop: CancellationToken,
}

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/verify", post(verify))
        .route("/v1/proofs/{id}", get(proof))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .with_state(app)
}

async fn verify(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let started = app.clock.instant();
    let answered = tokio::time::timeout(REQUEST_LIMIT, answer(&app, request)).await;
    app.metrics.request(app.clock.instant().saturating_duration_since(started));
    answered.unwrap_or_else(|_| {
        let message = format!("there was no answer within {} s", REQUEST_LIMIT.as_secs());
        refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "timed_out",
            &message,
            "ask for the proof by its id, or submit it again",
        )
    })
}

async fn answer(app: &App, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    if !is_json(&head.headers) {
        let help = "send `content-type: application/json`";
        return refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the body is not said to be JSON",
            help,
        );
    }
    let body = match collect(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    match wire::read(&body, app.max_proofs) {
        Ok(Submission::One(entry)) => one(app, entry).await,
        Ok(Submission::Many(entries)) => many(app, entries).await,
        Err(error @ ReadError::TooMany { .. }) => {
            let help = format!("split the list into requests of at most {} proofs", app.max_proofs);
            refuse(StatusCode::PAYLOAD_TOO_LARGE, "too_many_proofs", &error.to_string(), &help)
        }
        Err(ReadError::Syntax(error)) => {
            let message = format!("the body is not a proof or a list of proofs in JSON: {error}");
            let help = r#"send {"format":"challenge","data":HEX,"nonce":NUMBER,"bits":NUMBER}, or a list of such"#;
            refuse(StatusCode::BAD_REQUEST, "bad_body", &message, help)
        }
    }
}

/// Whether the body is said to be JSON, or nothing is said of it. A page in a browser can't send that to another
/// origin without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_none_or(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/json")
    })
}

async fn collect(body: Body) -> Result<Bytes, Response> {
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {MAX_BODY} bytes");
            let help = "split the list into several requests";
            Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &message, help))
        }
        Err(error) => {
            let message = format!("the body could not be read: {error}");
            Err(refuse(StatusCode::BAD_REQUEST, "bad_body", &message, "send the whole body"))
        }
    }
}

async fn one(app: &App, entry: Entry) -> Response {
    let judged = match entry {
        Err(malformed) => judge(app, None, Err(malformed)),
        Ok(proof) => {
            let format = proof.format();
            match app.intake.submit(vec![proof]).await.as_deref() {
                Ok(&[verdict]) => judge(app, Some(format), Ok(verdict)),
                Ok(_) => return refused(app, &[format], Refusal::Unrecorded),
                Err(refusal) => return refused(app, &[format], *refusal),
            }
        }
    };
    let status = if judged.accepted { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    json(status, &judged)
}

async fn many(app: &App, entries: Vec<Entry>) -> Response {
    let mut proofs: Vec<Proof> = Vec::with_capacity(entries.len());
    let entries: Vec<Result<Format, Malformed>> = entries
        .into_iter()
        .map(|entry| {
            let proof = entry?;
            let format = proof.format();
            proofs.push(proof);
            Ok(format)
        })
        .collect();
    let formats: Vec<Format> = proofs.iter().map(Proof::format).collect();
    let verdicts = if proofs.is_empty() {
        Vec::new()
    } else {
        match app.intake.submit(proofs).await {
            Ok(verdicts) if verdicts.len() == formats.len() => verdicts,
            Ok(_) => return refused(app, &formats, Refusal::Unrecorded),
            Err(refusal) => return refused(app, &formats, refusal),
        }
    };
    let mut verdicts = verdicts.into_iter();
    let results: Vec<Judged> = entries
        .into_iter()
        .filter_map(|entry| match entry {
            Err(malformed) => Some(judge(app, None, Err(malformed))),
            Ok(format) => verdicts.next().map(|verdict| judge(app, Some(format), Ok(verdict))),
        })
        .collect();
    let accepted = results.iter().filter(|judged| judged.accepted).count();
    json(StatusCode::OK, &JudgedList { accepted, rejected: results.len() - accepted, results })
}

/// The answer about one proof.
#[derive(Serialize)]
struct Judged {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<ProofId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<std::borrow::Cow<'static, str>>,
}

/// The answer about a list; the counts come first, so that a reader may stop there.
#[derive(Serialize)]
struct JudgedList {
    accepted: usize,
    rejected: usize,
    results: Vec<Judged>,
}

fn judge(app: &App, format: Option<Format>, verdict: Result<Verdict, Malformed>) -> Judged {
    let (reason, detail) = match verdict {
        Ok(Verdict::Accepted { id }) => {
            app.metrics.answered(format, Ok(()));
            return Judged { accepted: true, id: Some(id), reason: None, detail: None };
        }
        Ok(Verdict::Rejected { reason }) => (reason, reason.detail().into()),
        Err(Malformed { reason, told }) => (reason, told.into()),
    };
    app.metrics.answered(format, Err(reason));
    Judged { accepted: false, id: None, reason: Some(reason.name()), detail: Some(detail) }
}

/// The answer to a request none of whose proofs was judged.
fn refused(app: &App, formats: &[Format], refusal: Refusal) -> Response {
    let reason = refusal.reason();
    for format in formats {
        app.metrics.answered(Some(*format), Err(reason));
    }
    match refusal {
        Refusal::Overloaded => {
            let help = "submit it again after the time in `Retry-After`";
            let mut response =
                refuse(StatusCode::TOO_MANY_REQUESTS, reason.name(), reason.detail(), help);
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
        Refusal::Unrecorded => {
            let help = "submit it again later; if it was recorded after all, it is then answered as replayed";
            refuse(StatusCode::SERVICE_UNAVAILABLE, reason.name(), reason.detail(), help)
        }
    }
}

/// The answer about a recorded proof.
#[derive(Serialize)]
struct Found {
    id: ProofId,
    format: String,
    accepted_at: i64,
}

async fn proof(State(app): State<Arc<App>>, Path(id): Path<String>) -> Response {
    let Ok(id) = id.parse::<ProofId>() else {
        return refuse(
            StatusCode::BAD_REQUEST,
            "bad_id",
            "this is not a proof's id",
            "write its 64 hex digits",
        );
    };
    match app.ledger.find(id).await {
        Ok(Some(record)) => json(
            StatusCode::OK,
            &Found { id, format: record.format, accepted_at: record.accepted_at },
        ),
        Ok(None) => {
            let help = "an id is known once its proof was accepted";
            refuse(StatusCode::NOT_FOUND, "unknown_proof", "no accepted proof has this id", help)
        }
        Err(error) => away(&error),
    }
}

async fn healthz() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok" }))
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    if app.stop.is_cancelled() {
        let help = "go to another instance, or wait for the next";
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the service is stopping",
            help,
        );
    }
    match tokio::time::timeout(PROBE_LIMIT, app.ledger.probe()).await {
        Ok(Ok(())) => json(StatusCode::OK, &serde_json::json!({ "status": "ready" })),
        Ok(Err(error)) => away(&error),
        Err(_) => {
            let message = format!("the ledger did not answer within {} s", PROBE_LIMIT.as_secs());
            let code = Reason::LedgerUnavailable.name();
            refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                code,
                &message,
                "look at the database and its load",
            )
        }
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let text = app.metrics.render(Gauges {
        queued: app.intake.queued(),
        queue: app.intake.limit(),
        connections: app.ledger.connections(),
        uptime: app.clock.instant().saturating_duration_since(app.started),
    });
    respond(StatusCode::OK, HeaderValue::from_static("text/plain; version=0.0.4"), text.into())
}

async fn not_found() -> Response {
    let help = "there are /v1/verify, /v1/proofs/ID, /healthz, /readyz and /metrics";
    refuse(StatusCode::NOT_FOUND, "unknown_path", "there is nothing at this path", help)
}

async fn wrong_method() -> Response {
    let help = "POST to /v1/verify, and GET the others";
    refuse(
        StatusCode::METHOD_NOT_ALLOWED,
        "wrong_method",
        "this path does not take this method",
        help,
    )
}

/// The answer when the ledger can't be read.
fn away(error: &LedgerError) -> Response {
    let reported: &dyn std::error::Error = error;
    tracing::error!(error = reported, "the ledger could not be read");
    let code = Reason::LedgerUnavailable.name();
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        code,
        &error.to_string(),
        "look at the database and the service's log",
    )
}

#[derive(Serialize)]
struct Refused<'a> {
    error: Explained<'a>,
}

#[derive(Serialize)]
struct Explained<'a> {
    code: &'a str,
    message: &'a str,
    help: &'a str,
}

fn refuse(status: StatusCode, code: &str, message: &str, help: &str) -> Response {
    json(status, &Refused { error: Explained { code, message, help } })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => respond(status, HeaderValue::from_static("application/json"), text.into()),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            respond(
                StatusCode::INTERNAL_SERVER_ERROR,
                HeaderValue::from_static("text/plain"),
                Bytes::new(),
            )
        }
    }
}

fn respond(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
