import Glibc

/// The names of signals, as people know them.
enum SignalName {
    private static let names: [Int32: String] = [
        SIGHUP: "HUP", SIGINT: "INT", SIGQUIT: "QUIT", SIGILL: "ILL", SIGTRAP: "TRAP", SIGABRT: "ABRT", SIGBUS: "BUS",
        SIGFPE: "FPE", SIGKILL: "KILL", SIGUSR1: "USR1", SIGSEGV: "SEGV", SIGUSR2: "USR2", SIGPIPE: "PIPE",
        SIGALRM: "ALRM", SIGTERM: "TERM", SIGSTKFLT: "STKFLT", SIGXCPU: "XCPU", SIGXFSZ: "XFSZ", SIGVTALRM: "VTALRM",
        SIGPROF: "PROF", SIGPOLL: "IO", SIGPWR: "PWR", SIGSYS: "SYS",
    ]

    /// `SIGKILL`; the real-time signals go by number, as do those that cannot end a process.
    static func of(_ number: Int32) -> String { "SIG" + (names[number] ?? "\(number)") }
}
