//! The service from the outside: over HTTP, on SQLite and on PostgreSQL, with the client that ships with it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::Connection as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::client::{ClientError, PowdClient, Reply, VerifyBody};
use super::cluster::Cluster;
use super::config::Config;
use super::header::tests::GENESIS;
use super::ledger::{Ledger, TableName};
use super::mine::{ChallengeMiner, supply};
use super::proof::{Proof, verify};
use super::rules::Rules;
use super::service::{ServiceError, run};
use crate::clock::Clock;
use crate::database::{DatabaseUrl, PoolSize};
use crate::supervisor::Notifier;

const BITS: u8 = 4;

/// Longest that anything here may take; only a fault takes as long.
const PATIENCE: Duration = Duration::from_mins(1);

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<Result<(), ServiceError>>,
}

impl Running {
    async fn start(config: Config) -> Self {
        let (ready, address) = oneshot::channel();
        let stop = CancellationToken::new();
        let told = move |address| ready.send(address).unwrap();
        let task = tokio::spawn(run(config, stop.clone(), Clock::system(), told));
        let address = tokio::time::timeout(PATIENCE, address).await.unwrap().unwrap();
        Self { address, stop, task }
    }

    async fn client(&self) -> PowdClient {
        PowdClient::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Waits until the service's metrics say so.
    async fn until(&self, metric: &str) {
        let mut client = self.client().await;
        let seen = async {
            loop {
                let (_, text) = client.get("/metrics").await.unwrap();
                if String::from_utf8_lossy(&text).lines().any(|line| line == metric) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect(metric);
    }

    /// Sends a request as it stands and reads the answer to its end.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn post(&self, body: &str) -> String {
        let length = body.len();
        let head = "POST /v1/verify HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8";
        self.raw(&format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}")).await
    }
}

fn config(database: &DatabaseUrl) -> Config {
    Config { rules: Rules::new(BITS), ..Config::new(database.clone()) }
}

fn sqlite() -> (TempDir, DatabaseUrl) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("ledger.db").display());
    (dir, url.parse().unwrap())
}

fn table(name: &str) -> TableName {
    name.parse().unwrap()
}

async fn ledger(config: &Config) -> Ledger {
    Ledger::open(&config.database, PoolSize::exactly(1), config.ledger.clone()).await.unwrap()
}

/// A second program that holds SQLite's only write lock.
async fn lock(url: &DatabaseUrl) -> sqlx::SqliteConnection {
    let mut other = sqlx::SqliteConnection::connect(url.expose()).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    other
}

async fn unlock(mut other: sqlx::SqliteConnection) {
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
}

async fn a_proof_counts_once(config: Config) {
    let proofs: Vec<Proof> = ChallengeMiner::random(BITS).take(3).collect();
    let service = Running::start(config.clone()).await;
    let mut client = service.client().await;
    let twice = [0, 1, 0].map(|place: usize| proofs[place].clone());
    assert_eq!(
        client.verify(&twice).await.unwrap(),
        Reply { accepted: 2, rejected: 1, ..Reply::default() }
    );
    assert_eq!(
        client.verify(&proofs).await.unwrap(),
        Reply { accepted: 1, rejected: 2, ..Reply::default() }
    );
    assert_eq!(
        client.verify(&proofs[2..]).await.unwrap(),
        Reply { rejected: 1, ..Reply::default() }
    );
    service.end().await;

    let service = Running::start(config.clone()).await;
    let mut client = service.client().await;
    assert_eq!(client.verify(&proofs).await.unwrap(), Reply { rejected: 3, ..Reply::default() });
    let answer = service.post(&serde_json::to_string(&proofs[0]).unwrap()).await;
    assert!(
        answer.starts_with("HTTP/1.1 422 ") && answer.contains(r#""reason":"replayed""#),
        "{answer}"
    );
    let id = verify(&proofs[0], &config.rules, Timestamp::UNIX_EPOCH).unwrap().id;
    let (status, found) = client.get(&format!("/v1/proofs/{id}")).await.unwrap();
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    assert_eq!(
        (status, &found["format"], &found["id"]),
        (200, &"challenge".into(), &id.to_string().into())
    );
    let age = Clock::system().now().as_millisecond() - found["accepted_at"].as_i64().unwrap();
    assert!((0..60_000).contains(&age), "accepted {age} ms ago");
    service.end().await;
    let ledger = ledger(&config).await;
    assert_eq!(ledger.count().await.unwrap(), 3);
    ledger.close().await;
}

async fn of_many_who_submit_the_same_one_is_accepted(config: Config) {
    const CLIENTS: usize = 8;
    const PROOFS: usize = 40;
    // Two services on one ledger, as two processes would be.
    let services = [Running::start(config.clone()).await, Running::start(config.clone()).await];
    let proofs: Arc<[Proof]> = supply(PROOFS, BITS, 1).proofs.into();
    let accepted: Arc<Vec<AtomicU64>> = Arc::new((0..PROOFS).map(|_| AtomicU64::new(0)).collect());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let mut client = services[number % 2].client().await;
        let (proofs, accepted) = (proofs.clone(), accepted.clone());
        clients.spawn(async move {
            // Half of them in the other direction, so that services meet the proofs in different orders.
            for step in 0..PROOFS {
                let place = if number % 4 < 2 { step } else { PROOFS - 1 - step };
                let reply = client.verify(std::slice::from_ref(&proofs[place])).await.unwrap();
                assert_eq!(reply.accepted + reply.rejected, 1, "{reply:?}");
                accepted[place].fetch_add(reply.accepted, Ordering::Relaxed);
            }
        });
    }
    clients.join_all().await;
    assert!(accepted.iter().all(|times| times.load(Ordering::Relaxed) == 1), "{accepted:?}");
    for service in services {
        service.end().await;
    }
    let ledger = ledger(&config).await;
    assert_eq!(ledger.count().await.unwrap(), PROOFS as u64);
    ledger.close().await;
}

async fn a_stop_under_load_loses_nothing_acknowledged(config: Config) {
    let service = Running::start(config.clone()).await;
    let (accepted, stopped) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged: Arc<std::sync::Mutex<HashSet<_>>> = Arc::default();
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let mut client = service.client().await;
        let (accepted, stopped, acknowledged) =
            (accepted.clone(), stopped.clone(), acknowledged.clone());
        clients.spawn(async move {
            let mut miner = ChallengeMiner::random(BITS);
            loop {
                let proofs: Vec<Proof> = miner.by_ref().take(1 + number % 3).collect();
                match client.verify(&proofs).await {
                    Ok(reply) => {
                        assert_eq!(reply.accepted, proofs.len() as u64, "{reply:?}");
                        accepted.fetch_add(reply.accepted, Ordering::Relaxed);
                        let ids = proofs.iter().map(|proof| {
                            verify(proof, &Rules::new(BITS), Timestamp::UNIX_EPOCH).unwrap().id
                        });
                        acknowledged.lock().unwrap().extend(ids);
                    }
                    Err(error) => {
                        assert!(stopped.load(Ordering::Acquire), "before the stop: {error}");
                        return;
                    }
                }
            }
        });
    }
    let warm = async {
        while accepted.load(Ordering::Relaxed) < 300 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, warm).await.expect("300 answers");
    stopped.store(true, Ordering::Release);
    service.end().await;
    clients.join_all().await;
    let ledger = ledger(&config).await;
    assert_eq!(ledger.count().await.unwrap(), accepted.load(Ordering::Relaxed));
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert_eq!(acknowledged.len() as u64, accepted.load(Ordering::Relaxed));
    for id in acknowledged {
        assert!(ledger.contains(id).await.unwrap(), "{id} was acknowledged");
    }
    ledger.drop_table().await.unwrap();
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_counts_once_in_a_batch_across_requests_and_after_a_restart() {
    let (_dir, url) = sqlite();
    a_proof_counts_once(config(&url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_clients_of_two_services_that_submit_the_same_proof_exactly_one_is_accepted() {
    let (_dir, url) = sqlite();
    of_many_who_submit_the_same_one_is_accepted(config(&url)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_under_load_loses_nothing_that_was_acknowledged() {
    let (_dir, url) = sqlite();
    a_stop_under_load_loses_nothing_acknowledged(config(&url)).await;
    let lingering =
        Config { linger: Duration::from_millis(2), batch_size: 4, threads: 1, ..config(&url) };
    a_stop_under_load_loses_nothing_acknowledged(lingering).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_on_postgresql() {
    let Some(cluster) = Cluster::start() else {
        eprintln!("not tested: there is no PostgreSQL here");
        return;
    };
    let unique = format!("{:08x}", rand::random::<u32>());
    let on = |name: &str| Config {
        ledger: table(&format!("{name}_{unique}")),
        ..config(&cluster.url())
    };
    for (name, pool_size) in [("once", 4), ("once_single", 1)] {
        let config = Config { pool_size, ..on(name) };
        a_proof_counts_once(config.clone()).await;
        ledger(&config).await.drop_table().await.unwrap();
    }
    let config = on("many");
    of_many_who_submit_the_same_one_is_accepted(config.clone()).await;
    ledger(&config).await.drop_table().await.unwrap();
    a_stop_under_load_loses_nothing_acknowledged(on("stop")).await;

    let and = if cluster.url().expose().contains('?') { '&' } else { '?' };
    for (setting, is_taken) in [("off", false), ("on", true)] {
        let url = format!("{}{and}options[synchronous_commit]={setting}", cluster.url().expose());
        let url: DatabaseUrl = url.parse().unwrap();
        let opened = Ledger::open(&url, PoolSize::exactly(1), on("durable").ledger).await;
        match opened {
            Ok(ledger) => {
                assert!(is_taken, "{setting}");
                ledger.drop_table().await.unwrap();
            }
            Err(error) => assert!(
                !is_taken && error.to_string().contains(&format!("{and}options")[1..]),
                "{error}"
            ),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_answered_with_429_and_what_was_admitted_is_still_accepted() {
    let (_dir, url) = sqlite();
    let service = Running::start(Config { queue: 3, ..config(&url) }).await;
    let proofs = supply(4, BITS, 1).proofs;
    let holder = lock(&url).await;
    let mut admitted = JoinSet::new();
    for body in [VerifyBody::new(&proofs[..2]).unwrap(), VerifyBody::new(&proofs[2..3]).unwrap()] {
        let mut client = service.client().await;
        admitted.spawn(async move { client.verify_body(&body).await.unwrap() });
    }
    service.until("powd_queue_depth 3").await;
    let mut client = service.client().await;
    let full = client.verify(&proofs[3..]).await.unwrap();
    assert_eq!(full, Reply { overloaded: 1, ..Reply::default() });
    let answer = service.post(&serde_json::to_string(&proofs[3]).unwrap()).await;
    assert!(answer.starts_with("HTTP/1.1 429 "), "{answer}");
    assert!(
        answer.contains("retry-after: 1\r\n") && answer.contains(r#""code":"overloaded""#),
        "{answer}"
    );
    unlock(holder).await;
    let accepted: u64 = admitted.join_all().await.iter().map(|reply| reply.accepted).sum();
    assert_eq!(accepted, 3);
    service.until("powd_queue_depth 0").await;
    assert_eq!(client.verify(&proofs[3..]).await.unwrap().accepted, 1);
    service.until(r#"powd_verifications_total{format="challenge",result="overloaded"} 2"#).await;
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_before_the_stop_is_answered_and_nothing_is_taken_after_it() {
    let (_dir, url) = sqlite();
    let service = Running::start(config(&url)).await;
    let proofs = supply(2, BITS, 1).proofs;
    let holder = lock(&url).await;
    let (mut early, mut late) = (service.client().await, service.client().await);
    let first = VerifyBody::new(&proofs[..1]).unwrap();
    let admitted = tokio::spawn(async move { early.verify_body(&first).await });
    service.until("powd_queue_depth 1").await;
    service.stop.cancel();
    let refused = async {
        // The listener goes in its own time; until then a connection may be accepted, and is closed.
        let refusal = loop {
            match PowdClient::connect(service.address).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        assert!(matches!(refusal, ClientError::Connect { .. }), "{refusal}");
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(late.verify(&proofs[1..]).await.is_err(), "an idle connection is closed by the stop");
    assert!(!service.task.is_finished(), "it waits for what it has admitted");
    unlock(holder).await;
    assert_eq!(admitted.await.unwrap().unwrap().accepted, 1);
    service.end().await;
    let ledger = ledger(&config(&url)).await;
    assert_eq!(ledger.count().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_table_the_service_accepts_nothing_and_says_so() {
    let (_dir, url) = sqlite();
    let config = config(&url);
    let service = Running::start(config.clone()).await;
    let mut client = service.client().await;
    assert_eq!(client.get("/readyz").await.unwrap().0, 200);
    ledger(&config).await.drop_table().await.unwrap();
    let proofs = supply(2, BITS, 1).proofs;
    let unrecorded = client.verify(&proofs).await.unwrap();
    assert_eq!(unrecorded, Reply { unavailable: 2, ..Reply::default() });
    let (status, body) = client.get("/readyz").await.unwrap();
    assert_eq!(status, 503);
    assert!(String::from_utf8_lossy(&body).contains(r#""code":"ledger_unavailable""#), "{body:?}");
    assert_eq!(client.get("/healthz").await.unwrap().0, 200);
    service.until("powd_failed_commits_total 1").await;
    ledger(&config).await.close().await;
    assert_eq!(client.verify(&proofs).await.unwrap().accepted, 2, "the table is back");
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_status_and_its_words() {
    let (_dir, url) = sqlite();
    let service = Running::start(Config { queue: 8, rules: Rules::new(12), ..config(&url) }).await;
    let bitcoin = format!(r#"{{"format":"bitcoin","header":"{GENESIS}"}}"#);
    let changed = bitcoin.replace(r#":"0100"#, r#":"0200"#);
    for (body, status, words) in [
        (bitcoin.as_str(), 200, r#"{"accepted":true,"id":""#),
        (&bitcoin, 422, r#""reason":"replayed""#),
        (&changed, 422, r#""reason":"work_insufficient""#),
        (&bitcoin.replace("ffff001d", "ffff7f20"), 422, r#""reason":"target_out_of_range""#),
        (
            r#"{"format":"challenge","data":"00","nonce":1,"bits":11}"#,
            422,
            r#""reason":"difficulty_too_low""#,
        ),
        (
            r#"{"format":"challenge","data":"00","nonce":1,"bits":90}"#,
            422,
            r#""reason":"work_insufficient""#,
        ),
        (r#"{"format":"challenge"}"#, 422, r#""reason":"malformed","detail":"`data` is missing""#),
        ("[]", 200, r#"{"accepted":0,"rejected":0,"results":[]}"#),
        (
            "[7]",
            200,
            r#"{"accepted":0,"rejected":1,"results":[{"accepted":false,"reason":"malformed""#,
        ),
        (&format!("[7,{changed},{{}}]"), 200, r#""reason":"work_insufficient""#),
        ("[1,2,3,4,5,6,7,8,9]", 413, r#""code":"too_many_proofs""#),
        ("nonsense", 400, r#""code":"bad_body""#),
        (&"x".repeat((1 << 20) + 1), 413, r#""code":"body_too_large""#),
    ] {
        let answer = service.post(body).await;
        let shown: String = body.chars().take(80).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(words),
            "{shown}\n{answer}"
        );
    }
    for (request, status, code) in [
        ("GET /v1/proofs/xyz", 400, "bad_id"),
        (&format!("GET /v1/proofs/{}", "00".repeat(32)), 404, "unknown_proof"),
        ("GET /v2", 404, "unknown_path"),
        ("DELETE /v1/verify", 405, "wrong_method"),
        ("POST /v1/verify HTTP/1.1\r\ncontent-type: text/plain\r\nx: y", 415, "not_json"),
    ] {
        let line = if request.contains("HTTP") {
            request.to_owned()
        } else {
            format!("{request} HTTP/1.1")
        };
        let answer = service.raw(&format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n")).await;
        let code = format!(r#"{{"error":{{"code":"{code}","#);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains(&code),
            "{request}\n{answer}"
        );
        assert!(answer.contains(r#""help":""#), "{answer}");
    }
    service.until(r#"powd_verifications_total{format="bitcoin",result="accepted"} 1"#).await;
    service.until(r#"powd_verifications_total{format="unknown",result="malformed"} 4"#).await;
    service.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_started_it_is_told_the_address_and_the_stop() {
    let (dir, url) = sqlite();
    let path = dir.path().join("notify");
    let socket = tokio::net::UnixDatagram::bind(&path).unwrap();
    let service =
        Running::start(Config { notifier: Notifier::to(path.into()), ..config(&url) }).await;
    let mut message = [0; 256];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut message)).await.unwrap().unwrap();
    let ready = String::from_utf8_lossy(&message[..length]).into_owned();
    assert!(ready.contains(&format!("\nX_TRUEUP_ADDRESS={}\n", service.address)), "{ready}");
    service.end().await;
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut message)).await.unwrap().unwrap();
    assert!(message[..length].starts_with(b"STOPPING=1\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_cannot_start_says_why() {
    let (_dir, url) = sqlite();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = Config { listen: taken.local_addr().unwrap(), ..config(&url) };
    let never = |_| panic!("it is not ready");
    let error = run(busy, CancellationToken::new(), Clock::system(), never).await.unwrap_err();
    assert!(error.to_string().starts_with("could not listen on 127.0.0.1:"), "{error}");
    let idle = Config { threads: 0, ..config(&url) };
    let error = run(idle, CancellationToken::new(), Clock::system(), never).await.unwrap_err();
    assert!(matches!(error, ServiceError::Config(_)), "{error}");
}
