//! A suite as it is written in YAML.
//!
//! ```yaml
//! version: 1
//! checks:
//!   - name: a valid proof is accepted
//!     http: { method: POST, path: /v1/verify, body: {..}, status: 200, json: { /accepted: true } }
//!   - name: its record is in the database
//!     sql: { url: "{{ vars.database }}", query: "SELECT count(*) FROM ..", equals: 1 }
//!   - name: it is fast enough
//!     throughput: { min_rate: 100, max_p99: 250ms }
//! ```

use std::path::Path;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::reader::{Open, Reader};
use crate::database::SealedUrl;
use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::phase::{Attachment, Beforehand, LoadShape};
use crate::trust;
use crate::unit::Span;

/// Largest suite.
const LIMIT: u64 = 1 << 20;

/// A suite.
#[derive(Debug, Default)]
pub(super) struct Suite {
    /// In the order in which they run.
    pub(super) checks: Vec<SuiteCheck>,
}

/// One check.
#[derive(Debug)]
pub(super) struct SuiteCheck {
    /// What it says, as a sentence.
    pub(super) name: String,
    /// True when it may fail without failing the phase.
    pub(super) optional: bool,
    /// What is done.
    pub(super) what: What,
}

/// What a check does.
#[derive(Debug)]
pub(super) enum What {
    /// Asks the service over HTTP.
    Http(HttpCheck),
    /// Asks a database.
    Sql(SqlCheck),
    /// Runs a program.
    Command(CommandCheck),
    /// Loads the service.
    Throughput(ThroughputCheck),
}

/// A request and the answer wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpCheck {
    /// GET or POST.
    #[serde(default)]
    pub(super) method: Method,
    /// Such as `/v1/verify`.
    pub(super) path: String,
    /// Sent as JSON.
    pub(super) body: Option<Value>,
    /// The status wanted.
    pub(super) status: u16,
    /// Values wanted in the answer, by JSON pointer (RFC 6901).
    #[serde(default)]
    pub(super) json: Map<String, Value>,
}

/// Methods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Method {
    /// Ask.
    #[default]
    Get,
    /// Send.
    Post,
}

/// A query and the value wanted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SqlCheck {
    /// The database.
    pub(super) url: SealedUrl,
    /// Answers one row of one whole number.
    pub(super) query: String,
    /// The number wanted.
    pub(super) equals: i64,
}

/// A program and how it must end.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CommandCheck {
    /// Program and arguments; no shell.
    pub(super) argv: Vec<String>,
    /// The exit code wanted.
    #[serde(default)]
    pub(super) exit: i32,
    /// A text that its output must contain.
    pub(super) stdout_contains: Option<String>,
    /// How long it may take; a minute unless told.
    pub(super) timeout: Option<Span>,
}

/// Load, and what must come of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThroughputCheck {
    /// Least rate, in verifications a second.
    pub(super) min_rate: f64,
    /// Most 0.99 quantile of latency.
    pub(super) max_p99: Option<Span>,
    /// The load.
    #[serde(default)]
    pub(super) load: LoadShape,
}

/// Reads a suite, with `vars` for its expressions; one in doubt only where that `is_trusted`.
pub(super) fn read(
    path: &Path,
    vars: &Map<String, Value>,
    is_trusted: bool,
) -> Result<Suite, Diagnostics> {
    let source = load(path)?;
    if let (false, Some(doubt)) = (is_trusted, &source.doubt) {
        return Err(trust::told(&source.name, doubt).into());
    }
    let (suite, wrong) = Reader::new(source, vars, Open::default()).suite();
    if wrong.is_empty() { Ok(suite) } else { Err(Diagnostics(wrong)) }
}

/// Reads a suite before all of its variables have a value, and tells what is wrong with it as far as that is known.
pub(super) fn beforehand(path: &Path, known: &Beforehand) -> Attachment {
    let key = "suite";
    let source = match load(path) {
        Ok(source) => source,
        Err(wrong) => return Attachment { key, source: None, wrong: vec![wrong] },
    };
    let vars = known.with.get("vars").and_then(Value::as_object).cloned().unwrap_or_default();
    let (_, wrong) = Reader::new(Arc::clone(&source), &vars, Open::of(&known.open)).suite();
    Attachment { key, source: Some(source), wrong }
}

fn load(path: &Path) -> Result<Arc<Source>, Diagnostic> {
    trust::read(path, LIMIT).map_err(|error| {
        Diagnostic::from_error("suite::file", &error)
            .help("a relative path starts at the folder of the pipeline that is run")
    })
}
