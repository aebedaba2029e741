//! What it costs to learn about a host: this one, and a tree of a machine of 256 CPUs.
//!
//! A tree costs more than a machine of its size: each part of each path is looked at, lest a link leads out of it.
#![expect(clippy::expect_used, reason = "a bench that can't be set up has nothing to measure")]
#![expect(clippy::disallowed_methods, reason = "it makes the tree that it reads")]

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use trueup::host::{Facts, Inspection, Sysroot};

const CPUS: usize = 256;

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

/// Two sockets of 64 cores with two threads each, with caches and a frequency policy for each CPU.
fn large(root: &Path) {
    let mut cpuinfo = String::new();
    for list in ["possible", "present", "online"] {
        put(root, &format!("sys/devices/system/cpu/{list}"), &format!("0-{}\n", CPUS - 1));
    }
    let mask = |cpus: &[usize]| {
        let bit = |word: usize| {
            let inside = cpus.iter().filter(|cpu| *cpu / 32 == word);
            inside.fold(0_u32, |bits, cpu| bits | 1 << (cpu % 32))
        };
        let words: Vec<String> =
            (0..CPUS / 32).rev().map(|word| format!("{:08x}", bit(word))).collect();
        words.join(",")
    };
    for cpu in 0..CPUS {
        let dir = format!("sys/devices/system/cpu/cpu{cpu}");
        let core = [cpu % 128, cpu % 128 + 128];
        let socket: Vec<usize> =
            (0..CPUS).filter(|other| other % 128 / 64 == cpu % 128 / 64).collect();
        put(root, &format!("{dir}/topology/thread_siblings"), &mask(&core));
        put(root, &format!("{dir}/topology/core_siblings"), &mask(&socket));
        let caches =
            [("1", "Data", &core[..]), ("2", "Unified", &core[..]), ("3", "Unified", &socket[..])];
        for (index, (level, kind, shared)) in caches.into_iter().enumerate() {
            let cache = format!("{dir}/cache/index{index}");
            put(root, &format!("{cache}/level"), level);
            put(root, &format!("{cache}/type"), kind);
            put(root, &format!("{cache}/size"), "512K");
            put(root, &format!("{cache}/shared_cpu_map"), &mask(shared));
        }
        let policy = format!("sys/devices/system/cpu/cpufreq/policy{cpu}");
        for (name, content) in [
            ("affected_cpus", cpu.to_string().as_str()),
            ("scaling_driver", "amd-pstate-epp"),
            ("scaling_governor", "powersave"),
            ("scaling_available_governors", "performance powersave"),
            ("cpuinfo_min_freq", "400000"),
            ("cpuinfo_max_freq", "3700000"),
        ] {
            put(root, &format!("{policy}/{name}"), content);
        }
        let flags = "fpu lm aes avx2 sha_ni ".repeat(30);
        let _ = write!(
            cpuinfo,
            "processor : {cpu}\nvendor_id : AuthenticAMD\nmodel name : A CPU\nstepping : 1\nflags : {flags}\n\n"
        );
    }
    put(root, "proc/cpuinfo", &cpuinfo);
}

fn bench(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    large(folder.path());
    let (live, tree) = (Sysroot::live(), Sysroot::at(folder.path().to_owned()));
    let mut group = criterion.benchmark_group("host");
    group.bench_function("facts of this host", |bencher| {
        bencher.iter(|| black_box(Facts::read(&live)));
    });
    group.bench_function("all that `trueup host` tells of it", |bencher| {
        bencher.iter(|| black_box(Inspection::read(&live)));
    });
    group.sample_size(10);
    group.bench_function("facts of a tree of 256 CPUs", |bencher| {
        bencher.iter(|| black_box(Facts::read(&tree)));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
