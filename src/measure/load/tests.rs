use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::report::LoadWarning;
use super::*;

/// A target whose every request is answered by a function of its number, one at a time or all at once.
struct Target {
    answer: fn(u64) -> Answer,
    requests: AtomicU64,
    connects: AtomicU64,
    one_at_a_time: Option<Mutex<()>>,
}

struct Answer {
    after: Duration,
    with: Result<u64, CallError>,
}

fn after_ms(millis: u64) -> Answer {
    Answer { after: Duration::from_millis(millis), with: Ok(1) }
}

impl Target {
    fn new(answer: fn(u64) -> Answer) -> Arc<Self> {
        let (requests, connects) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { answer, requests, connects, one_at_a_time: None })
    }

    fn serial(answer: fn(u64) -> Answer) -> Arc<Self> {
        let (requests, connects) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { answer, requests, connects, one_at_a_time: Some(Mutex::new(())) })
    }
}

struct Users(Arc<Target>);
struct User(Arc<Target>);

impl Workload for Users {
    type Client = User;

    async fn connect(&self, client: usize) -> Result<User, CallError> {
        self.0.connects.fetch_add(1, Ordering::Relaxed);
        if client >= 100 {
            return Err(CallError::Refused("too many connections".to_owned()));
        }
        Ok(User(self.0.clone()))
    }
}

impl Client for User {
    async fn call(&mut self) -> Result<u64, CallError> {
        let answer = (self.0.answer)(self.0.requests.fetch_add(1, Ordering::Relaxed));
        let _turn = match &self.0.one_at_a_time {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        if !answer.after.is_zero() {
            sleep(answer.after).await;
        }
        answer.with
    }
}

fn setting(clients: usize, millis: u64) -> Setting {
    Setting {
        clients,
        warmup: Warmup::NONE,
        duration: Duration::from_millis(millis),
        call_timeout: Duration::from_secs(2),
        place: Place::ThisProcess,
        usable_cpus: 2.0,
        clock: Clock::system(),
        cancel: CancellationToken::new(),
    }
}

async fn closed_on(target: Arc<Target>, setting: Setting) -> Result<LoadReport, LoadError> {
    closed(Arc::new(Users(target)), ClosedLoop { setting }).await
}

async fn open_on(target: Arc<Target>, setting: Setting, rate: f64) -> LoadReport {
    open(Arc::new(Users(target)), OpenLoop { setting, rate }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_loop_finds_the_capacity_that_its_clients_and_the_service_time_give() {
    let report = closed_on(Target::new(|_| after_ms(10)), setting(4, 600)).await.unwrap();
    // Little's law: 4 clients of 10 ms each are 400/s; a busy machine only ever makes it less.
    assert!((150.0..=401.0).contains(&report.throughput), "{}", report.throughput);
    assert!(report.latency.p50_ms >= 10.0 && report.latency.count == report.requests);
    assert_eq!((report.limited_by, report.clients), (Limit::Target, 4));
    assert!((4..=6).contains(&report.rate_series.len()), "{:?}", report.rate_series);
    assert_eq!(report.errors, CallErrors::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_unit_of_a_batch_counts() {
    let batch = |_| Answer { after: Duration::from_millis(5), with: Ok(64) };
    let report = closed_on(Target::new(batch), setting(2, 300)).await.unwrap();
    // A request at either edge counts in one of the two only.
    assert!(report.units.abs_diff(report.requests * 64) <= 4 * 64);
    assert!(report.units.is_multiple_of(64) && report.units > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_never_waits_starves_neither_the_others_nor_the_clock() {
    let at_once = |_| Answer { after: Duration::ZERO, with: Ok(1) };
    let report = closed_on(Target::new(at_once), setting(8, 300)).await.unwrap();
    assert!(report.throughput > 1000.0, "{}", report.throughput);
    assert!(!report.rate_series.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_does_not_hide_a_stall() {
    // One answer of the first hundred takes 400 ms, and the rest queue behind it.
    let stalls = |number| after_ms(if number == 20 { 400 } else { 0 });
    let report = open_on(Target::serial(stalls), setting(2, 1000), 200.0).await;
    // 80 of the 200 requests fell due during the stall, so even the upper fifth waited long; a closed
    // loop would have seen two slow requests.
    assert!(report.latency.p90_ms > 150.0, "{:?}", report.latency);
    assert!(report.latency.count.abs_diff(200) <= 2, "{}", report.latency.count);
    assert_eq!(report.offered_rate.map(f64::round), Some(200.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_loop_above_the_capacity_says_so_and_counts_whose_turn_never_came() {
    let report = open_on(Target::serial(|_| after_ms(10)), setting(4, 600), 500.0).await;
    assert!(report.throughput <= 101.0, "{}", report.throughput);
    let unstarted = report.warnings.iter().find_map(|warning| match warning {
        LoadWarning::Unstarted { requests } => Some(*requests),
        _ => None,
    });
    let unstarted = unstarted.unwrap();
    assert!((report.requests + unstarted).abs_diff(300) <= 3, "{} + {unstarted}", report.requests);
    assert_eq!(report.latency.count, report.requests + unstarted);
    assert!(matches!(report.limited_by, Limit::Target | Limit::Generator { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_failures_are_counted_and_a_failed_client_connects_again() {
    let answer = |number: u64| Answer {
        after: Duration::from_millis(2),
        with: match number % 4 {
            0 => Err(CallError::Refused("busy".to_owned())),
            1 => Err(CallError::Failed("reset".to_owned())),
            _ => Ok(1),
        },
    };
    let target = Target::new(answer);
    let report = closed_on(target.clone(), setting(1, 400)).await.unwrap();
    assert!(report.errors.refused > 0 && report.errors.failed > 0 && report.requests > 0);
    // Which of the two comes first is a matter of when the warm-up has ended.
    assert!(matches!(report.errors.first_failure.as_deref(), Some("busy" | "reset")));
    assert!(target.connects.load(Ordering::Relaxed) >= report.errors.failed);
    assert!((0.3..0.7).contains(&report.error_ratio()), "{}", report.error_ratio());
    assert!(report.warnings.iter().any(|w| matches!(w, LoadWarning::Errors { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_answer_fails_at_its_time_limit() {
    let limited = Setting { call_timeout: Duration::from_millis(50), ..setting(1, 200) };
    let report = closed_on(Target::new(|_| after_ms(60_000)), limited).await.unwrap();
    assert_eq!((report.requests, report.units), (0, 0));
    assert_eq!(report.errors.first_failure.as_deref(), Some("no answer within 50ms"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warm_up_is_detected_and_nothing_of_it_is_recorded() {
    // The first 12 requests of two clients take 100 ms each: about 600 ms.
    let cold = |number| after_ms(if number < 12 { 100 } else { 5 });
    let warm = Warmup { min: Duration::from_millis(200), max: Duration::from_secs(8) };
    let report =
        closed_on(Target::new(cold), Setting { warmup: warm, ..setting(2, 400) }).await.unwrap();
    assert_eq!(report.warmup_end, WarmupEnd::Settled);
    assert!(report.warmup_seconds > 0.6, "{}", report.warmup_seconds);
    assert!(report.latency.p99_ms < 95.0, "{:?}", report.latency);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_load_ends_at_once() {
    let endless = setting(2, 60_000);
    let cancel = endless.cancel.clone();
    let load = tokio::spawn(closed_on(Target::new(|_| after_ms(1)), endless));
    sleep(Duration::from_millis(50)).await;
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), load).await.unwrap().unwrap();
    assert!(matches!(ended, Err(LoadError::Cancelled)));
}

#[tokio::test]
async fn a_client_that_can_not_connect_is_named() {
    let error = closed_on(Target::new(|_| after_ms(1)), setting(101, 200)).await.unwrap_err();
    assert_eq!(error.to_string(), "could not connect client 101 of 101");
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "refused: too many connections");
}

#[tokio::test]
async fn a_senseless_load_is_refused_with_a_remedy() {
    for (spec, remedy) in [
        (setting(0, 200), "at least one"),
        (setting(1, 20), "at least 100ms"),
        (Setting { call_timeout: Duration::ZERO, ..setting(1, 200) }, "how long"),
    ] {
        let error = closed_on(Target::new(|_| after_ms(1)), spec).await.unwrap_err();
        assert!(error.to_string().contains(remedy), "{error}");
    }
}
