//! Proofs of work without the service: verified, minted and measured by `trueup powd`.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::house::{Ended, House, Running};

/// The first block header of Bitcoin.
const GENESIS: &str = "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";

/// A stamp of the format's own description.
const STAMP: &str = "1:20:040428:foo::0298b26853c8ebb3:beca0";

/// A payload that the library of the format's makers has issued and solved, with the key `signature.secret`.
const PAYLOAD: &str = "eyJjaGFsbGVuZ2UiOiB7InBhcmFtZXRlcnMiOiB7ImFsZ29yaXRobSI6ICJQQktERjIvU0hBLTI1NiIsICJjb3N0IjogMTAsICJrZXlMZW5ndGgiOiAzMiwgImtleVByZWZpeCI6ICIwMCIsICJub25jZSI6ICIzOWJhZjkxYTE5ZDY3MWY4MjMxMjE3ZjllMjgzNDJhNiIsICJzYWx0IjogIjM5YmFmOTFhMTlkNjcxZjgyMzEyMTdmOWUyODM0MmE2IiwgImV4cGlyZXNBdCI6IDE4MDAwMDAwMDAsICJkYXRhIjogeyJjaGFsbGVuZ2VJZCI6ICJhYmMiLCAieCI6IFsxLCAyXX19LCAic2lnbmF0dXJlIjogIjU0MDIyYzhiOTZlOWY4ZGYxZWZmM2ZmMGIzNWQxMzFjNzliYTdlZjhjNTU5MmNlMDYxZjBiNGQ3MTczMDRlZGEifSwgInNvbHV0aW9uIjogeyJjb3VudGVyIjogMzA2LCAiZGVyaXZlZEtleSI6ICIwMDBhMzBiYTUxMmUxYzg4ZWRlMmJjMGEwYTM4YTZkOTEwMmQ0NWYwZjk4YjNiMTFhNmNlNDY3YjMzNTFmZGRmIiwgInRpbWUiOiAxLjV9fQ==";

/// What the program says of these lines, which it reads from its input.
fn of(house: &House, arguments: &[&str], lines: &str) -> Ended {
    let mut command = house.command(&[&["powd"], arguments].concat());
    let mut running = Running::start({
        command.stdin(Stdio::piped());
        command
    });
    let mut input = running.child.stdin.take().unwrap();
    // A program that has seen enough reads no further.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    running.end()
}

#[test]
fn proofs_of_every_format_are_verified_line_by_line_and_each_once() {
    let house = House::new();
    house.put("key", "signature.secret\n");
    let lines = format!(
        "{GENESIS}\n\n{STAMP}\r\n{PAYLOAD}\n{{\"format\":\"bitcoin\",\"header\":\"{GENESIS}\"}}\nnonsense\n{}",
        STAMP.replacen("foo", "bar", 1)
    );
    let verify =
        ["verify", "--key", "file:key", "--resource", "foo", "--at", "2004-04-28T12:00:00Z"];
    let ended = of(&house, &[&verify[..], &["--json"]].concat(), &lines).wanted(1);
    let told: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let short: Vec<_> = told
        .iter()
        .map(|one| (one["line"].as_u64().unwrap(), &one["format"], &one["reason"]))
        .map(|(line, format, reason)| (line, format.as_str(), reason.as_str()))
        .collect();
    assert_eq!(
        short,
        [
            (1, Some("bitcoin"), None),
            (3, Some("hashcash"), None),
            (4, Some("altcha_v2"), None),
            (5, Some("bitcoin"), Some("replayed")),
            (6, None, Some("malformed")),
            (7, Some("hashcash"), Some("resource_not_ours")),
        ]
    );
    assert_eq!(told[0]["id"].as_str().map(str::len), Some(64));

    let ended = of(&house, &verify, &lines).wanted(1);
    assert!(ended.stdout.contains("1    accepted  bitcoin    "), "{}", ended.stdout);
    assert!(ended.stdout.contains("5    rejected  bitcoin    replayed: "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("6 proofs, 3 accepted\n"), "{}", ended.stdout);

    house.put("proofs", GENESIS);
    house.trueup(&["powd", "verify", "proofs"]).wanted(0);
    of(&house, &["verify"], "").wanted(1);
    let long = "a".repeat(70_000);
    let ended = of(&house, &["verify"], &format!("{long}\n{GENESIS}\n")).wanted(1);
    assert!(ended.stdout.contains("2 proofs, 1 accepted"), "{}", ended.stdout);
}

#[test]
fn what_is_minted_is_accepted() {
    let house = House::new();
    house.put("key", "a key");
    for (format, mint, verify) in [
        ("challenge", &["--bits", "8", "--count", "3"][..], &["--difficulty", "8"][..]),
        (
            "hashcash",
            &["--bits", "8", "--resource", "a@b.org"],
            &["--difficulty", "8", "--resource", "a@b.org"],
        ),
        ("altcha-v1", &["--key", "file:key", "--max-number", "50"], &["--key", "file:key"]),
        (
            "altcha-v2",
            &[
                "--key",
                "file:key",
                "--algorithm",
                "argon2id",
                "--cost",
                "1",
                "--memory-cost",
                "16",
                "--key-prefix",
                "0",
            ],
            &["--key", "file:key"],
        ),
        ("bitcoin", &["--count", "3"], &["--difficulty", "1", "--limit", "207fffff"]),
        ("litecoin", &[], &["--difficulty", "1", "--limit", "207fffff", "--format", "litecoin"]),
    ] {
        let minted = house.trueup(&[&["powd", "mint", format], mint].concat()).wanted(0).stdout;
        of(&house, &[&["verify"], verify].concat(), &minted).wanted(0);
        of(&house, &["verify"], &minted).wanted(1);
    }
    let unsolved = ["powd", "mint", "altcha-v1", "--key", "file:key", "--unsolved"];
    let challenge: Value = serde_json::from_str(&house.trueup(&unsolved).wanted(0).stdout).unwrap();
    assert!(challenge["salt"].as_str().unwrap().ends_with('&'), "{challenge}");
}

#[test]
fn a_chain_of_headers_is_followed_and_where_it_breaks_is_told() {
    let house = House::new();
    let minted = house.trueup(&["powd", "mint", "bitcoin", "--count", "5"]).wanted(0).stdout;
    let mut bytes: Vec<u8> = Vec::new();
    for line in minted.lines() {
        bytes.extend((0..80).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()));
    }
    let chain = house.path("chain");
    let verify = ["powd", "verify", "--headers", "chain", "--limit", "207fffff"];
    std::fs::write(&chain, &bytes).unwrap();
    let ended = house.trueup(&verify).wanted(0);
    assert!(
        ended.stdout.starts_with("5 headers valid and linked, the last one "),
        "{}",
        ended.stdout
    );

    bytes.drain(160..240);
    std::fs::write(&chain, &bytes).unwrap();
    let ended = house.trueup(&verify).wanted(1);
    assert!(
        ended.stdout.contains("header 2, counted from 0, at byte 160: unlinked: it names "),
        "{}",
        ended.stdout
    );
    let json = house.trueup(&[&verify[..], &["--json"]].concat()).wanted(1).stdout;
    let told: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&told["headers"], &told["broken"]["at"]), (&2.into(), &2.into()), "{told}");
    house.trueup(&["powd", "verify", "--headers", "chain"]).wanted(1);
}

#[test]
fn verifications_are_measured_by_format() {
    let house = House::new();
    let bench = ["powd", "bench", "--duration", "1ms", "--only", "challenge"];
    let ended = house.trueup(&bench).wanted(0);
    assert!(ended.stdout.starts_with("verifications a second"), "{}", ended.stdout);
    let json = house.trueup(&[&bench[..], &["--json", "--threads", "1"]].concat()).wanted(0).stdout;
    let figure: Value = serde_json::from_str(&json).unwrap();
    assert!(figure["one_thread"].as_f64().unwrap() > 0.0, "{figure}");
    let ended = house.trueup(&["powd", "bench", "--only", "nothing"]).wanted(2);
    assert!(ended.stderr.contains("powd::bench"), "{}", ended.stderr);
}

#[test]
fn keys_targets_and_files_that_are_none_are_told() {
    let house = House::new();
    house.put("empty", "\n");
    house.put("key", "secret");
    for (arguments, code, word) in [
        (&["verify", "--key", "hunter2"][..], 2, "is not typed"),
        (&["verify", "--key", "file:nowhere"], 2, "could not read the key"),
        (&["verify", "--key", "file:empty"], 2, "it is empty"),
        (&["verify", "--key", "env:TRUEUP_NO_SUCH"], 2, "it is not in the environment"),
        (&["verify", "--key", "vault:x"], 2, "secrets can't be read from `vault`"),
        (
            &["verify", "--key", "file:key", "--key", "file:key", "--key", "file:key"],
            2,
            "at most 2",
        ),
        (&["verify", "--resource", "a:b"], 2, "powd::resource"),
        (&["verify", "--limit", "1d00fff"], 2, "powd::target"),
        (&["verify", "--limit", "1d80ffff"], 2, "powd::target"),
        (&["verify", "nowhere"], 1, "powd::input"),
        (&["mint", "hashcash"], 2, "`--resource` is missing"),
        (&["mint", "hashcash", "--resource", "a b"], 2, "printable ASCII"),
        (&["mint", "altcha-v1"], 2, "`--key` is missing"),
        (
            &["mint", "altcha-v1", "--key", "file:key", "--algorithm", "MD5"],
            2,
            "`MD5` is no algorithm",
        ),
        (&["mint", "altcha-v2", "--key", "file:key", "--cost", "99999999999"], 1, "powd::mint"),
        (&["--difficulty", "4", "verify"], 2, "verify"),
    ] {
        let ended = house.trueup(&[&["powd"], arguments].concat()).wanted(code);
        let told = ended.stderr.replace("\n  | ", " ");
        assert!(told.contains(word), "{arguments:?}: {told}");
        assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    }
}
