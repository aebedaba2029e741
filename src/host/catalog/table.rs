//! The table of settings, grouped as people look for them. Meanings and bounds are those of the kernel's documentation
//! (`Documentation/admin-guide/sysctl`, `Documentation/admin-guide/pm`, `Documentation/block`).

use super::{Known, Place, Takes};

const MOST: i64 = i32::MAX as i64;
const MANY: i64 = i64::MAX;

const fn known(
    name: &'static str,
    place: Place,
    takes: Takes,
    unit: &'static str,
    meaning: &'static str,
) -> Known {
    Known { name, unit, meaning, place, takes }
}

const fn sysctl(
    name: &'static str,
    takes: Takes,
    unit: &'static str,
    meaning: &'static str,
) -> Known {
    known(name, Place::Sysctl, takes, unit, meaning)
}

pub(super) const ALL: &[Known] = &[
    known(
        "governor",
        Place::Policy("scaling_governor"),
        Takes::Governor,
        "",
        "how the frequency of the CPUs follows their load; `performance` keeps it at the highest allowed, the default depends on the driver",
    ),
    known(
        "energy_preference",
        Place::Policy("energy_performance_preference"),
        Takes::Offered("energy_performance_available_preferences"),
        "",
        "what the hardware prefers where it chooses the frequency itself: speed or saving power; under the governor `performance` only `performance`",
    ),
    known(
        "energy_bias",
        Place::Cpu("power/energy_perf_bias"),
        Takes::Whole(0, 15),
        "",
        "the same hint for older hardware: 0 prefers speed, 15 saving power; the default is 6",
    ),
    known(
        "min_frequency",
        Place::Policy("scaling_min_freq"),
        Takes::Frequency,
        "kHz",
        "the lowest frequency that may be chosen; the default is the lowest of the hardware",
    ),
    known(
        "max_frequency",
        Place::Policy("scaling_max_freq"),
        Takes::Frequency,
        "kHz",
        "the highest frequency that may be chosen; the default is the highest of the hardware",
    ),
    known(
        "boost",
        Place::Boost,
        Takes::Switch,
        "",
        "whether CPUs may run above their base frequency while power and heat allow it; the default is on",
    ),
    sysctl(
        "vm.swappiness",
        Takes::Whole(0, 200),
        "",
        "the relative cost of swapping against dropping file pages: 0 avoids swapping, 100 holds both for equally expensive, more prefers swapping; the default is 60",
    ),
    sysctl(
        "vm.dirty_ratio",
        Takes::Whole(0, 100),
        "% of memory",
        "how much memory may wait to be written to disk before whoever writes must wait; setting it zeroes vm.dirty_bytes; the default is 20",
    ),
    sysctl(
        "vm.dirty_bytes",
        Takes::Whole(8192, MANY),
        "bytes",
        "the same as a size; setting it zeroes vm.dirty_ratio; 0 means that the ratio counts",
    ),
    sysctl(
        "vm.dirty_background_ratio",
        Takes::Whole(0, 100),
        "% of memory",
        "how much memory may wait before the kernel begins to write in the background; below vm.dirty_ratio; setting it zeroes vm.dirty_background_bytes; the default is 10",
    ),
    sysctl(
        "vm.dirty_background_bytes",
        Takes::Whole(1, MANY),
        "bytes",
        "the same as a size; setting it zeroes vm.dirty_background_ratio; 0 means that the ratio counts",
    ),
    sysctl(
        "vm.dirty_expire_centisecs",
        Takes::Whole(0, MOST),
        "1/100 s",
        "how old data may get before it is written to disk; the default is 3000",
    ),
    sysctl(
        "vm.dirty_writeback_centisecs",
        Takes::Whole(0, MOST),
        "1/100 s",
        "how often the kernel looks for such data; 0 never; the default is 500",
    ),
    sysctl(
        "vm.overcommit_memory",
        Takes::Whole(0, 2),
        "",
        "whether more memory may be promised than there is: 0 within reason, 1 always, 2 never beyond vm.overcommit_ratio; the default is 0",
    ),
    sysctl(
        "vm.overcommit_ratio",
        Takes::Whole(0, MOST),
        "% of memory",
        "how much memory may be promised beside swap where vm.overcommit_memory is 2; the default is 50",
    ),
    sysctl(
        "vm.max_map_count",
        Takes::Whole(0, MOST),
        "mappings",
        "how many mappings of memory a process may have; the default is 65530",
    ),
    sysctl(
        "vm.min_free_kbytes",
        Takes::Whole(1, MOST),
        "KiB",
        "memory that is kept free for what can't wait; too much of it starves the rest; the default depends on the memory",
    ),
    sysctl(
        "vm.vfs_cache_pressure",
        Takes::Whole(0, MOST),
        "%",
        "how readily names and inodes are dropped from memory compared with file pages; the default is 100",
    ),
    sysctl(
        "vm.zone_reclaim_mode",
        Takes::Whole(0, 7),
        "",
        "whether a NUMA node frees its own memory before it takes that of another: 1 frees, 2 writes, 4 swaps, added up; the default is 0",
    ),
    sysctl(
        "vm.nr_hugepages",
        Takes::Whole(0, MOST),
        "pages",
        "how many huge pages are set aside for programs that ask for them; the default is 0",
    ),
    sysctl(
        "vm.stat_interval",
        Takes::Whole(1, MOST),
        "s",
        "how often counters of memory are gathered, which interrupts every CPU; the default is 1",
    ),
    known(
        "transparent_hugepage.enabled",
        Place::File(&["/sys/kernel/mm/transparent_hugepage/enabled"]),
        Takes::Offered(""),
        "",
        "whether the kernel backs memory with huge pages by itself: always, where a program asks (madvise), never",
    ),
    known(
        "transparent_hugepage.defrag",
        Place::File(&["/sys/kernel/mm/transparent_hugepage/defrag"]),
        Takes::Offered(""),
        "",
        "how hard it tries to make a huge page when one is needed: `always` makes the program wait",
    ),
    known(
        "transparent_hugepage.khugepaged_defrag",
        Place::File(&["/sys/kernel/mm/transparent_hugepage/khugepaged/defrag"]),
        Takes::Switch,
        "",
        "whether huge pages are also made in the background; the default is on",
    ),
    sysctl(
        "kernel.numa_balancing",
        Takes::Whole(0, 3),
        "",
        "whether memory follows the tasks that use it between NUMA nodes: 0 off, 1 on, 2 between tiers of memory; costs page faults",
    ),
    sysctl(
        "kernel.sched_autogroup_enabled",
        Takes::Switch,
        "",
        "whether tasks of a terminal share the CPU as one; meant for desktops; the default is on",
    ),
    sysctl(
        "kernel.sched_rt_period_us",
        Takes::Whole(1, MOST),
        "us",
        "the period over which time for real-time tasks is counted; the default is 1000000",
    ),
    sysctl(
        "kernel.sched_rt_runtime_us",
        Takes::Whole(-1, MOST),
        "us",
        "how much of each period real-time tasks may take, at most the period; -1 all of it; the default is 950000",
    ),
    sysctl(
        "kernel.sched_schedstats",
        Takes::Switch,
        "",
        "whether the scheduler counts what it does, which costs a little; the default is off",
    ),
    sysctl(
        "kernel.timer_migration",
        Takes::Switch,
        "",
        "whether timers of an idle CPU move to a busy one; the default is on",
    ),
    known(
        "sched.base_slice_ns",
        Place::File(&["/sys/kernel/debug/sched/base_slice_ns"]),
        Takes::Whole(100_000, 1_000_000_000),
        "ns",
        "how long a task runs before another of its kind may; since kernel 6.6",
    ),
    known(
        "sched.latency_ns",
        Place::File(&["/sys/kernel/debug/sched/latency_ns", "/proc/sys/kernel/sched_latency_ns"]),
        Takes::Whole(100_000, 1_000_000_000),
        "ns",
        "within which every task that can run shall have run; before kernel 6.6",
    ),
    known(
        "sched.min_granularity_ns",
        Place::File(&[
            "/sys/kernel/debug/sched/min_granularity_ns",
            "/proc/sys/kernel/sched_min_granularity_ns",
        ]),
        Takes::Whole(100_000, 1_000_000_000),
        "ns",
        "how long a task runs at least before another may; before kernel 6.6",
    ),
    known(
        "sched.wakeup_granularity_ns",
        Place::File(&[
            "/sys/kernel/debug/sched/wakeup_granularity_ns",
            "/proc/sys/kernel/sched_wakeup_granularity_ns",
        ]),
        Takes::Whole(0, 1_000_000_000),
        "ns",
        "how much a task that wakes up must be behind to interrupt the one that runs; before kernel 6.6",
    ),
    known(
        "sched.migration_cost_ns",
        Place::File(&[
            "/sys/kernel/debug/sched/migration_cost_ns",
            "/proc/sys/kernel/sched_migration_cost_ns",
        ]),
        Takes::Whole(0, MOST),
        "ns",
        "how long a task counts as warm in the cache of its CPU and is not moved; the default is 500000",
    ),
    known(
        "sched.nr_migrate",
        Place::File(&["/sys/kernel/debug/sched/nr_migrate", "/proc/sys/kernel/sched_nr_migrate"]),
        Takes::Whole(0, MOST),
        "tasks",
        "how many tasks are moved between CPUs in one go; the default is 32",
    ),
    known(
        "block.scheduler",
        Place::Disk("queue/scheduler"),
        Takes::Offered(""),
        "",
        "how requests to a disk are ordered: `none` for fast solid state, `mq-deadline` bounds how long one waits, `bfq` shares fairly",
    ),
    known(
        "block.read_ahead_kb",
        Place::Disk("queue/read_ahead_kb"),
        Takes::Whole(0, MOST),
        "KiB",
        "how much is read ahead of what was asked for in sequence; the default is 128",
    ),
    known(
        "block.nr_requests",
        Place::Disk("queue/nr_requests"),
        Takes::Whole(4, MOST),
        "requests",
        "how many requests of a disk may wait; the least is 4",
    ),
    known(
        "block.rq_affinity",
        Place::Disk("queue/rq_affinity"),
        Takes::Whole(0, 2),
        "",
        "where a request ends: 0 anywhere, 1 near the CPU that began it, 2 on that CPU; the default is 1",
    ),
    sysctl(
        "net.core.somaxconn",
        Takes::Whole(1, MOST),
        "connections",
        "how many connections a listening socket may have waiting to be accepted; the default is 4096, 128 before kernel 5.4",
    ),
    sysctl(
        "net.core.netdev_max_backlog",
        Takes::Whole(0, MOST),
        "packets",
        "how many packets may wait for a CPU; the default is 1000",
    ),
    sysctl(
        "net.core.rmem_default",
        Takes::Whole(256, MOST),
        "bytes",
        "the receive buffer of a socket that asks for none; TCP has its own; the default is 212992",
    ),
    sysctl(
        "net.core.rmem_max",
        Takes::Whole(2304, MOST),
        "bytes",
        "the largest receive buffer that a socket may ask for; the default is 212992",
    ),
    sysctl(
        "net.core.wmem_default",
        Takes::Whole(4608, MOST),
        "bytes",
        "the send buffer of a socket that asks for none; TCP has its own; the default is 212992",
    ),
    sysctl(
        "net.core.wmem_max",
        Takes::Whole(4608, MOST),
        "bytes",
        "the largest send buffer that a socket may ask for; the default is 212992",
    ),
    sysctl(
        "net.core.busy_poll",
        Takes::Whole(0, MOST),
        "us",
        "how long poll and select look for packets themselves before they sleep; 0 not at all, the default",
    ),
    sysctl(
        "net.ipv4.tcp_rmem",
        Takes::Ascending(3, 1),
        "bytes",
        "the receive buffer of a TCP socket: least, at the start, and as far as it may grow by itself",
    ),
    sysctl(
        "net.ipv4.tcp_wmem",
        Takes::Ascending(3, 1),
        "bytes",
        "the send buffer of a TCP socket: least, at the start, and as far as it may grow by itself",
    ),
    sysctl(
        "net.ipv4.ip_local_port_range",
        Takes::Ascending(2, 1),
        "ports",
        "from which port to which connections begin that name none; the default is 32768 60999",
    ),
    sysctl(
        "net.ipv4.tcp_max_syn_backlog",
        Takes::Whole(1, MOST),
        "connections",
        "how many connections may be half open on a listening socket; the default depends on the memory",
    ),
    sysctl(
        "net.ipv4.tcp_fin_timeout",
        Takes::Whole(1, MOST),
        "s",
        "how long the end of a connection is waited for; the default is 60",
    ),
    sysctl(
        "net.ipv4.tcp_tw_reuse",
        Takes::Whole(0, 2),
        "",
        "whether a port that lately was in use may be taken for a new connection: 0 no, 1 yes, 2 to this host; the default is 2",
    ),
    sysctl(
        "net.ipv4.tcp_slow_start_after_idle",
        Takes::Switch,
        "",
        "whether a connection that was idle begins slowly again; the default is on",
    ),
    sysctl(
        "net.ipv4.tcp_congestion_control",
        Takes::Offered("tcp_available_congestion_control"),
        "",
        "the rule by which TCP chooses its pace, of those in net.ipv4.tcp_available_congestion_control",
    ),
    sysctl(
        "fs.file-max",
        Takes::Whole(0, MANY),
        "files",
        "how many files all processes together may have open",
    ),
    sysctl(
        "fs.nr_open",
        Takes::Whole(8, MOST),
        "files",
        "how high the limit of open files of one process may be set; the default is 1048576",
    ),
    sysctl(
        "fs.aio-max-nr",
        Takes::Whole(0, MANY),
        "requests",
        "how many asynchronous requests to disks may be under way in all; the default is 65536",
    ),
];
