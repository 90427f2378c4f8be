import FastableCore
import FoundationEssentials
import Glibc
import NodeLinux
import Synchronization
import TestSupport
import Testing

@Suite struct HostCommandTests {
    @Test func collectsOutputAndStatus() async throws {
        let result = try await shell("printf out; printf err >&2; exit 3").run()
        #expect(result.status == .exited(3))
        #expect(result.text == "out")
        #expect(result.errorText == "err")
        #expect(!result.truncated)
        #expect(result.duration > .zero)
    }

    @Test func argumentsAreNotInterpreted() async throws {
        let arguments = ["a b", "$HOME", "`id`", "", "-n", "*", "ü"]
        let result = try await HostCommand("printf", ["%s|"] + arguments).run()
        #expect(result.text == arguments.joined(separator: "|") + "|")
    }

    @Test func environmentIsFixed() async throws {
        let result = try await HostCommand("/usr/bin/env", []).run()
        let lines = Set(result.text.split(separator: "\n").map(String.init))
        #expect(lines == Set(HostCommand.minimalEnvironment.map { "\($0)=\($1)" }))
    }

    @Test func standardInputOfAnySize() async throws {
        for size in [0, 1, 65_536, 3_000_000] {
            let input = Data((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31) })
            let result = try await HostCommand("cat", [], standardInput: input).run(outputLimit: 4_000_000)
            #expect(result.stdout == input)
        }
    }

    @Test func missingToolNamesItsPackage() async throws {
        let error = try await expectError { try await HostCommand("no-such-tool", []).run() }
        #expect(error.code == .unavailable)
        #expect(error.message.contains("apt-get install no-such-tool"))
        let path = try await expectError { try await HostCommand("/nowhere/nft", []).run() }
        #expect(path.code == .unavailable)
        #expect(path.message.contains("apt-get install nftables"))
    }

    @Test func failureKeepsTheCommandPrivate() async throws {
        let error = try await expectError {
            try await shell("echo secret-reason >&2; exit 9").runChecked("do the thing")
        }
        #expect(error.code == .internal)
        #expect(error.message == "The node could not do the thing: ‘sh’ failed.")
        #expect(error.context?.contains("exit status 9") == true)
        #expect(error.context?.contains("secret-reason") == true)
        #expect(!error.message.contains("secret-reason"))
    }

    @Test func signalIsReported() async throws {
        let result = try await shell("kill -TERM $$").run()
        #expect(result.status == .signaled(SIGTERM))
        #expect(!result.status.isSuccess)
    }

    @Test func timeoutKillsGrandchildren() async throws {
        let marker = "86400.\(UInt32.random(in: 0...UInt32.max))"
        let started = ContinuousClock.now
        let error = try await expectError {
            try await shell("sleep \(marker) & sleep \(marker) & wait").run(timeout: .milliseconds(200))
        }
        #expect(error.code == .timeout)
        #expect(.now - started < .seconds(30))
        try await eventually { processes(with: marker) == 0 }
    }

    @Test func cancellationKills() async throws {
        let marker = "86400.\(UInt32.random(in: 0...UInt32.max))"
        let task = Task { try await shell("sleep \(marker) & wait").run(timeout: .seconds(250)) }
        try await eventually { processes(with: marker) > 0 }
        task.cancel()
        let error = try await expectError { try await task.value }
        #expect(error.code == .cancelled)
        try await eventually { processes(with: marker) == 0 }
    }

    @Test func alreadyCancelledDoesNotRunOn() async throws {
        let task = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await HostCommand("sleep", ["60"]).run()
        }
        task.cancel()
        let error = try await expectError { try await task.value }
        #expect(error.code == .cancelled)
    }

    @Test func outputIsBounded() async throws {
        let result = try await shell("head -c 5000000 /dev/zero; head -c 3000000 /dev/zero >&2")
            .run(outputLimit: 1000)
        #expect(result.status == .exited(0))
        #expect(result.stdout.count == 1000)
        #expect(result.stderr.count == 1000)
        #expect(result.truncated)
    }

    @Test func consumerEndsTheCommand() async throws {
        let seen = Mutex(0)
        let result = try await HostCommand("yes", []).run(timeout: .seconds(300)) { bytes in
            seen.withLock {
                $0 += bytes.count
                return $0 < 200_000
            }
        }
        #expect(result.status == .signaled(SIGKILL))
        #expect(seen.withLock { $0 } < 1_000_000)
    }

    @Test func daemonLeftBehindDoesNotHoldTheCaller() async throws {
        let started = ContinuousClock.now
        let result = try await shell("setsid sleep 300 & echo $!; exit 0").run(timeout: .seconds(250))
        let pid = try #require(pid_t(result.text.filter(\.isNumber)))
        defer { kill(pid, SIGKILL) }
        #expect(result.status.isSuccess)
        #expect(.now - started < .seconds(240))
        #expect(kill(pid, 0) == 0)
    }

    @Test func childHasOnlyTheGivenDescriptors() async throws {
        let pipe = try Pipe()
        let result = try await HostCommand(
            "ls", ["/proc/self/fd"],
            inheritedDescriptors: [.init(pipe.reading.number, as: 7), .init(pipe.writing.number, as: 5)]
        ).run()
        // 3 is the directory that ls reads.
        #expect(result.text.split(separator: "\n") == ["0", "1", "2", "3", "5", "7"])
        try pipe.writing.writeAll([1])
    }

    @Test func inheritedDescriptorsMayTradePlaces() async throws {
        let first = try Pipe()
        let second = try Pipe()
        let low = min(first.writing.number, second.writing.number)
        let high = max(first.writing.number, second.writing.number)
        // Each number means the other pipe in the child.
        let result = try await HostCommand(
            "/bin/bash", ["-c", "echo high >&\(high); echo low >&\(low)"],
            inheritedDescriptors: [.init(low, as: high), .init(high, as: low)]
        ).run()
        try result.checked("write")
        let firstText = try read(first.reading)
        let secondText = try read(second.reading)
        #expect((first.writing.number == low ? firstText : secondText) == "high\n")
        #expect((first.writing.number == low ? secondText : firstText) == "low\n")
    }

    @Test func workingDirectoryByPathAndDescriptor() async throws {
        let directory = try FileDescriptor(opening: "/usr/share", O_RDONLY | O_DIRECTORY)
        let byDescriptor = try await HostCommand(
            "pwd", ["-P"], workingDirectory: .descriptor(directory.number)
        ).run()
        #expect(byDescriptor.text == "/usr/share\n")
        #expect(try await HostCommand("pwd", ["-P"]).run().text == "/\n")
        #expect(directory.number >= 0)
    }

    /// Those that are given may get its number.
    @Test func theWorkingDirectoryIsNoneOfTheDescriptorsThatAreGiven() async throws {
        let directory = try FileDescriptor(opening: "/usr/share", O_RDONLY | O_DIRECTORY)
        let file = try FileDescriptor(opening: "/dev/null", O_RDONLY)
        // The command takes the lowest numbers that are free: for its pipes, and for the directory.
        let free = try Errno.check { fcntl(file.number, F_DUPFD_CLOEXEC, 3) }
        close(free)
        let given = (free..<free + 12).map { HostCommand.InheritedDescriptor(file.number, as: $0) }
        let result = try await HostCommand(
            "pwd", ["-P"], inheritedDescriptors: given, workingDirectory: .descriptor(directory.number)
        ).run()
        #expect(result.text == "/usr/share\n", "\(result.errorText)")
        #expect(directory.number >= 0)
    }

    @Test(.needsRoot) func identityHasNoPrivileges() async throws {
        let result = try await HostCommand(
            "cat", ["/proc/self/status"], identity: .init(user: 123_456, group: 123_457)
        ).run()
        let lines = result.text.split(separator: "\n")
        #expect(lines.contains("Uid:\t123456\t123456\t123456\t123456"))
        #expect(lines.contains("Gid:\t123457\t123457\t123457\t123457"))
        #expect(lines.contains("Groups:\t "))
        #expect(lines.contains("NoNewPrivs:\t1"))
        for set in ["CapPrm", "CapEff", "CapAmb"] { #expect(lines.contains("\(set):\t0000000000000000")) }
    }

    @Test func signalsOfTheChildAreStandard() async throws {
        signal(SIGPIPE, SIG_IGN)
        let result = try await HostCommand("cat", ["/proc/self/status"]).run()
        let lines = result.text.split(separator: "\n")
        #expect(lines.contains("SigBlk:\t0000000000000000"))
        let ignored = lines.first { $0.hasPrefix("SigIgn:") }?.split(separator: "\t").last.flatMap {
            UInt64($0, radix: 16)
        }
        // Bits of the signals 32 and 33 belong to the C library, which lets nobody change them.
        #expect(ignored.map { $0 & ~0x1_8000_0000 } == 0)
    }

    @Test func memoryLimitHolds() async throws {
        let command = HostCommand(
            "/usr/bin/perl", ["-e", "my $x = 'a' x 300_000_000; print length $x"], memoryLimitBytes: 64 * 1024 * 1024)
        let result = try await command.run()
        #expect(!result.status.isSuccess)
    }

    @Test func hundredsOfRunsLeaveNothingBehind() async throws {
        let before = openDescriptors()
        try await withThrowingTaskGroup { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<40 { try await HostCommand("true", []).runChecked("run true") }
                }
            }
            try await group.waitForAll()
        }
        // Other tests run beside this one and hold some descriptors of their own.
        #expect(openDescriptors() - before < 60)
        try await eventually { zombies() == 0 }
    }

    private func shell(_ text: String, _ descriptors: [HostCommand.InheritedDescriptor] = []) -> HostCommand {
        HostCommand("/bin/sh", ["-c", text], inheritedDescriptors: descriptors)
    }

    private func read(_ descriptor: borrowing FileDescriptor) throws -> String {
        var bytes = [UInt8](repeating: 0, count: 100)
        let count = try bytes.withUnsafeMutableBytes { try descriptor.read(into: $0) }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

/// Processes one of whose arguments is `argument`.
private func processes(with argument: String) -> Int {
    numericDirectories().count { pid in
        guard let file = try? FileDescriptor(opening: "/proc/\(pid)/cmdline", O_RDONLY),
            let bytes = try? file.readAll(limit: 4096)
        else { return false }
        return bytes.split(separator: 0).contains { Array($0) == Array(argument.utf8) }
    }
}

/// Children of this process that have ended and were not reaped.
private func zombies() -> Int {
    numericDirectories().count { pid in
        guard let file = try? FileDescriptor(opening: "/proc/\(pid)/stat", O_RDONLY),
            let bytes = try? file.readAll(limit: 4096)
        else { return false }
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        return fields.count > 2 && fields[0] == "Z" && fields[1] == "\(getpid())"
    }
}

private func numericDirectories() -> [Int] {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc"))?.compactMap(Int.init) ?? []
}

private func openDescriptors() -> Int {
    (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd"))?.count ?? 0
}
