import FastableCore
import FastableDaemon
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A socket as systemd makes it.
private final class NotifySocket: Sendable {
    let name: String
    private let descriptor: Int32

    init(_ name: String) throws {
        self.name = name
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        try #require(descriptor >= 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array(name.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        if name.hasPrefix("@") { address.sun_path.0 = 0 }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(bound == 0, "errno \(errno)")
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    }

    deinit { close(descriptor) }

    /// The next datagram, waited for in steps.
    private func next() async throws -> String {
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count >= 0 { return String(decoding: buffer[..<count], as: UTF8.self) }
            try await Task.sleep(for: .milliseconds(5))
        }
    }

    func expect(_ message: String, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        let received = try await next()
        #expect(received == message, sourceLocation: sourceLocation)
    }

    /// Everything that has arrived by now.
    func pending() -> [String] {
        var all: [String] = []
        var buffer = [UInt8](repeating: 0, count: 256)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count >= 0 else { return all }
            all.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
    }
}

/// Runs the notifier in a group, as a daemon does, while the body looks on; then stops it gracefully.
private func running(_ notifier: SystemdNotifier, _ body: () async throws -> Void) async throws {
    let group = ServiceGroup(services: [notifier], logger: .quiet)
    try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await group.run() }
        do {
            try await body()
        } catch {
            tasks.cancelAll()
            throw error
        }
        await group.triggerGracefulShutdown()
        try await tasks.waitForAll()
    }
}

@Suite(.endsInTime) struct SystemdTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test(arguments: [true, false])
    func tellsReadyAndStopping(abstract: Bool) async throws {
        let socket = try NotifySocket(
            abstract ? "@fastable-test-\(UInt64.random(in: 0 ... .max))" : directory.path + "/notify")
        let notifier = SystemdNotifier(environment: ["NOTIFY_SOCKET": socket.name], logger: .quiet)
        try await running(notifier) {
            try await socket.expect("READY=1")
            #expect(socket.pending() == [])
        }
        #expect(socket.pending() == ["STOPPING=1"])
    }

    @Test func isReadyOnlyWhenTheDaemonServes() async throws {
        let socket = try NotifySocket(directory.path + "/notify")
        let (gate, opener) = AsyncStream.makeStream(of: Void.self)
        let notifier = SystemdNotifier(
            environment: ["NOTIFY_SOCKET": socket.name], logger: .quiet,
            ready: { for await _ in gate { return } })
        try await running(notifier) {
            try await Task.sleep(for: .milliseconds(50))
            #expect(socket.pending() == [])
            opener.yield()
            try await socket.expect("READY=1")
        }
    }

    @Test func givesSignsOfLifeAtHalfOfTheTime() async throws {
        let socket = try NotifySocket(directory.path + "/notify")
        let notifier = SystemdNotifier(
            environment: [
                "NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "\(getpid())",
            ], logger: .quiet)
        let start = ContinuousClock.now
        try await running(notifier) {
            try await socket.expect("READY=1")
            for _ in 0..<3 { try await socket.expect("WATCHDOG=1") }
            let elapsed = ContinuousClock.now - start
            #expect(elapsed >= .milliseconds(300), "\(elapsed)")
        }
        #expect(socket.pending().last == "STOPPING=1")
    }

    @Test func anIllDaemonIsSilent() async throws {
        let socket = try NotifySocket(directory.path + "/notify")
        let notifier = SystemdNotifier(
            environment: ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "20000"], logger: .quiet,
            healthy: { false })
        try await running(notifier) {
            try await socket.expect("READY=1")
            try await Task.sleep(for: .milliseconds(100))
            #expect(socket.pending() == [])
        }
    }

    /// Also when it cannot be cancelled, as an actor that is stuck.
    @Test func whatDoesNotAnswerIsNotAwaited() async throws {
        let held = Mutex<CheckedContinuation<Void, Never>?>(nil)
        let answers = await Liveness.answers(within: .milliseconds(50)) {
            await withCheckedContinuation { continuation in held.withLock { $0 = continuation } }
            return true
        }
        #expect(!answers)
        try await eventually("it was asked") { held.withLock { $0 != nil } }
        held.withLock { $0?.resume() }
        for answer in [true, false] {
            #expect(await Liveness.answers(within: .seconds(60)) { answer } == answer)
        }
    }

    @Test func anotherProcessesWatchdogIsNotOurs() async throws {
        let socket = try NotifySocket(directory.path + "/notify")
        let notifier = SystemdNotifier(
            environment: ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"],
            logger: .quiet)
        try await running(notifier) {
            try await socket.expect("READY=1")
            try await Task.sleep(for: .milliseconds(100))
            #expect(socket.pending() == [])
        }
    }

    @Test(arguments: [
        [:], ["NOTIFY_SOCKET": ""], ["NOTIFY_SOCKET": "vsock:2:1"], ["NOTIFY_SOCKET": "relative"],
        ["NOTIFY_SOCKET": "/nonexistent/notify", "WATCHDOG_USEC": "10000"],
        ["NOTIFY_SOCKET": "/" + String(repeating: "x", count: 200)], ["WATCHDOG_USEC": "nonsense"],
    ])
    func withoutSystemdTheDaemonRunsAllTheSame(environment: [String: String]) async throws {
        let notifier = SystemdNotifier(environment: environment, logger: .quiet)
        try await running(notifier) { try await Task.sleep(for: .milliseconds(30)) }
    }

    @Test func aDaemonThatCannotServeFails() async throws {
        let socket = try NotifySocket(directory.path + "/notify")
        let notifier = SystemdNotifier(
            environment: ["NOTIFY_SOCKET": socket.name], logger: .quiet,
            ready: { throw FastableError(.conflict, "The port is taken.") })
        await #expect(throws: FastableError.self) {
            try await ServiceGroup(services: [notifier], logger: .quiet).run()
        }
        #expect(!socket.pending().contains("READY=1"))
    }
}
