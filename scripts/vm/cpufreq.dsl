// The frequency control that the test machine of scripts/vm-test has: two CPUs, each of three speeds.
//
// QEMU gives its CPUs none, so without this table no cpufreq driver binds. With it the kernel's own acpi-cpufreq does,
// and all that is above it is real: policies, governors, what they refuse, frequencies.
//
// What acpi-cpufreq asks of each CPU (ACPI 6.4, section 8.4.5):
//   _PSS  the speeds, the fastest first: MHz, mW, two latencies in us, what to write for it, what then reads back
//   _PCT  where that is written, and where it is read
//   _PPC  the fastest speed allowed now, as an index into _PSS
// There is no _PSD, the one that says which CPUs change speed together: without it each is a policy of its own, and
// a test with several policies is a better one.
//
// The register must be a port that nobody else uses and that keeps what is written, for the kernel asks it for the speed.
// The scratch register of a serial port, its eighth, is made for nothing else: 0x3EF is that of the third port, 0x2EF of
// the fourth. scripts/vm-test gives the machine both ports, and connects them to nothing.
DefinitionBlock ("", "SSDT", 2, "TRUEUP", "CPUSPEED", 1)
{
    // Where QEMU declares the CPUs of its machines. Whether they are Processor or Device differs between its versions.
    External (\_SB.CPUS.C000, DeviceObj)
    External (\_SB.CPUS.C001, DeviceObj)

    // The number that stands for a speed is arbitrary; this is its MHz / 100.
    Name (\SPDS, Package () {
        Package () { 3000, 30000, 10, 10, 30, 30 },
        Package () { 2000, 20000, 10, 10, 20, 20 },
        Package () { 1000, 10000, 10, 10, 10, 10 }
    })

    Scope (\_SB.CPUS.C000)
    {
        Method (_PSS) { Return (SPDS) }
        Name (_PCT, Package () {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x3EF) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x3EF) }
        })
        Name (_PPC, 0)
    }

    Scope (\_SB.CPUS.C001)
    {
        Method (_PSS) { Return (SPDS) }
        Name (_PCT, Package () {
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x2EF) },
            ResourceTemplate () { Register (SystemIO, 8, 0, 0x2EF) }
        })
        Name (_PPC, 0)
    }
}
