//! A check over HTTP.

use std::net::SocketAddr;

use serde_json::Value;

use super::state;
use super::suite::{HttpCheck, Method};
use crate::event::CheckState;
use crate::phase::PhaseError;
use crate::powd::client::PowdClient;

/// Most of an answer that is shown, in characters.
const SHOWN: usize = 200;

pub(super) async fn check(
    wanted: &HttpCheck,
    address: SocketAddr,
) -> Result<CheckState, PhaseError> {
    let asked = async {
        let mut client = PowdClient::connect(address).await?;
        match wanted.method {
            Method::Get => client.get(&wanted.path).await,
            Method::Post => {
                let body = wanted.body.as_ref().map_or_else(String::new, Value::to_string);
                client.post(&wanted.path, body.into()).await
            }
        }
    };
    let (status, body) =
        asked.await.map_err(|error| PhaseError::because("could not ask the service", error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let shown: String = String::from_utf8_lossy(&body).trim().chars().take(SHOWN).collect();
    let values_are_right =
        wanted.json.iter().all(|(pointer, value)| answer.pointer(pointer) == Some(value));
    let values: Vec<String> =
        wanted.json.iter().map(|(pointer, value)| format!("{pointer} = {value}")).collect();
    let mut asked = format!("status {}", wanted.status);
    if !values.is_empty() {
        asked = format!("{asked} with {}", values.join(", "));
    }
    let good = status == wanted.status && values_are_right;
    Ok(state(
        good,
        format!("status {status}: {shown}"),
        asked,
        format!("http://{address}{}", wanted.path),
    ))
}
