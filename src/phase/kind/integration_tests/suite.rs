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

use crate::database::SealedUrl;
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source};
use crate::disk;
use crate::phase::LoadShape;
use crate::pipeline::{Scope, Sources, parse_yaml, render};
use crate::unit::Span;

/// Largest suite.
const LIMIT: u64 = 1 << 20;

/// A suite.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    /// 1.
    #[serde(rename = "version")]
    _version: Version,
    /// In the order in which they run.
    pub(super) checks: Vec<SuiteCheck>,
}

/// The one version there is.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = &'static str;
    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if number == 1 { Ok(Self) } else { Err("write `version: 1`") }
    }
}

/// One check.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SuiteCheck {
    /// What it says, as a sentence.
    pub(super) name: String,
    /// True when it may fail without failing the phase.
    #[serde(default)]
    pub(super) optional: bool,
    /// What is done.
    #[serde(flatten)]
    pub(super) what: What,
}

/// What a check does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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

/// Reads a suite, with `vars` for its expressions.
pub(super) fn read(path: &Path, vars: &Map<String, Value>) -> Result<Suite, Diagnostics> {
    let text = disk::read_text(path, LIMIT)
        .map_err(|error| Diagnostic::from_error("suite::file", &error))?;
    let source = Source::new(path, text);
    let root = parse_yaml(&source).map_err(|error| *error)?;
    let scope = Scope { vars: vars.clone().into(), ..Scope::default() };
    let sources = Sources::from(Arc::clone(&source));
    let value = render(&root, &scope, &sources).map_err(Diagnostics)?;
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let steps: Vec<String> =
            error.path().to_string().split(['.', '[', ']']).map(str::to_owned).collect();
        let steps: Vec<String> = steps.into_iter().filter(|step| !step.is_empty()).collect();
        let place = Place { source, span: root.span_of(&steps).bytes() };
        Diagnostic::error("suite::value", format!("`{}`: {}", error.path(), error.inner()))
            .at(place, "")
            .into()
    })
}
