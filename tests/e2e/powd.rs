//! The service that ships with trueup, through its own command.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::house::{House, PATIENCE, Running};

/// The first block header of Bitcoin, whose proof everybody knows.
const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

/// A service that has said that it is ready.
struct Powd {
    process: Running,
    address: SocketAddr,
    notices: UnixDatagram,
}

impl Powd {
    fn start(house: &House, options: &[&str]) -> Self {
        let socket = house.path("notify");
        let notices = UnixDatagram::bind(&socket).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = house.command(&["powd", "--listen", "127.0.0.1:0", "--difficulty", "4"]);
        command.args(["--database", "sqlite://powd.db"]).args(options);
        command.env("NOTIFY_SOCKET", &socket).stdin(Stdio::piped());
        let process = Running::start(command);
        let told = notice(&notices);
        assert!(told.starts_with("READY=1\n"), "{told}");
        let address = told
            .lines()
            .find_map(|line| line.strip_prefix("X_TRUEUP_ADDRESS="))
            .and_then(|address| address.parse().ok())
            .expect("an address");
        Self { process, address, notices }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: powd\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn verify(&self, proof: &Value) -> (u16, Value) {
        self.ask("POST", "/v1/verify", &proof.to_string())
    }
}

fn notice(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).expect("a notice of the service");
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

#[test]
fn the_service_says_when_it_is_ready_accepts_once_and_stops_gracefully() {
    let house = House::new();
    let powd = Powd::start(&house, &[]);
    assert_eq!(powd.ask("GET", "/readyz", "").0, 200);
    let proof = json!({ "format": "bitcoin", "header": GENESIS });
    let (status, body) = powd.verify(&proof);
    assert_eq!((status, &body["accepted"]), (200, &json!(true)), "{body}");
    let (status, body) = powd.verify(&proof);
    assert_eq!((status, &body["reason"]), (422, &json!("replayed")), "{body}");
    let wrong = json!({ "format": "bitcoin", "header": GENESIS.replacen("01", "02", 1) });
    assert_eq!(powd.verify(&wrong).0, 422);
    assert_eq!(powd.ask("POST", "/v1/verify", "not json").0, 400);

    powd.process.signal(Signal::SIGTERM);
    assert!(notice(&powd.notices).starts_with("STOPPING=1\n"));
    powd.process.end().wanted(0);

    // What was accepted outlives the process.
    std::fs::remove_file(house.path("notify")).unwrap();
    let powd = Powd::start(&house, &[]);
    assert_eq!(powd.verify(&proof).0, 422, "a replay is refused after a restart too");
}

#[test]
fn stamps_and_payloads_are_accepted_once_by_whoever_is_told_keys_and_resources() {
    let house = House::new();
    house.put("key", "a key");
    let mint = |arguments: &[&str]| {
        let minted = house.trueup(&[&["powd", "mint"], arguments].concat()).wanted(0).stdout;
        minted.trim_end().to_owned()
    };
    let stamp = mint(&["hashcash", "--resource", "a@b.org", "--bits", "4"]);
    let first = mint(&["altcha-v1", "--key", "file:key", "--max-number", "50"]);
    let second = mint(&["altcha-v2", "--key", "file:key", "--cost", "2", "--key-prefix", "0"]);
    let proofs = [
        json!({ "format": "hashcash", "stamp": stamp }),
        json!({ "format": "altcha", "payload": first }),
        json!({ "format": "altcha", "payload": second }),
    ];
    let reasons = |powd: &Powd| -> Vec<Value> {
        let (status, body) = powd.verify(&json!(proofs));
        assert_eq!(status, 200, "{body}");
        let results = body["results"].as_array().unwrap();
        results.iter().map(|result| result["reason"].clone()).collect()
    };
    let powd = Powd::start(&house, &[]);
    assert_eq!(reasons(&powd), ["resource_not_ours", "key_missing", "key_missing"]);
    drop(powd);
    std::fs::remove_file(house.path("notify")).unwrap();
    let powd = Powd::start(&house, &["--key", "file:key", "--resource", "a@b.org"]);
    assert_eq!(reasons(&powd), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(reasons(&powd), ["replayed", "replayed", "replayed"]);
}

#[test]
fn the_service_ends_when_the_process_that_holds_its_input_is_gone() {
    let house = House::new();
    let mut powd = Powd::start(&house, &["--stop-with-stdin"]);
    drop(powd.process.child.stdin.take());
    powd.process.end().wanted(0);
}

#[test]
fn the_load_generator_prints_what_it_measured() {
    let house = House::new();
    let powd = Powd::start(&house, &[]);
    let target = powd.address.to_string();
    let load =
        ["load", "--target", &target, "--clients", "4", "--duration", "300ms", "--difficulty", "4"];
    let ended = house.trueup(&load).wanted(0);
    for word in ["throughput", "verifications/s", "p99", "limited by"] {
        assert!(ended.stdout.contains(word), "{word} is not in {}", ended.stdout);
    }
    let ended = house.trueup(&[&load[..], &["--json", "--rate", "50"]].concat()).wanted(0);
    let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(figures["units"].as_u64().unwrap() > 0, "{figures}");
    assert_eq!(figures["errors"]["failed"], 0, "{figures}");
    powd.process.signal(Signal::SIGTERM);
    powd.process.end().wanted(0);
    let ended = house.trueup(&load).wanted(1);
    assert!(ended.stderr.contains("is the service running?"), "{}", ended.stderr);
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let house = House::new();
    for options in [
        &["--listen", "nowhere"][..],
        &["--database", "mysql://x"],
        &["--cpus", "a-b"],
        &["--ledger", "x; DROP TABLE y"],
        &["--listen", "0.0.0.0:0"],
    ] {
        let ended = house.trueup(&[&["powd"], options].concat()).wanted(2);
        assert!(ended.stderr.contains(options[1].split(';').next().unwrap()), "{}", ended.stderr);
    }
}
