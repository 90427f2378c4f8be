import FastableCore
import Foundation
import NIOCore
import NIOPosix
import NodeSandbox
import TestSupport
import Testing

/// What one command prints of another one's secrets, with a real init.
@Suite("Secrets of other commands", .enabled(if: InitProcess.available, "needs root and unshare"))
struct SharedSecretTests {
    private static let value = "s3cret/of+another one"
    private static let stars = String(repeating: "*", count: value.utf8.count)

    /// Ends when there is a file with this name.
    private static func until(_ name: String, _ process: InitProcess) -> String {
        "until [ -e \(process.folder)/\(name) ]; do sleep 0.02; done"
    }

    private static func open(_ name: String, _ process: InitProcess) {
        _ = FileManager.default.createFile(atPath: "\(process.folder)/\(name)", contents: nil)
    }

    @Test(.endsInTime) func whatRunsBesideACommandPrintsItsSecretsMasked() async throws {
        try await InitProcess.withTable { table, process in
            let say = "echo '<\(Self.value)>'"
            #expect(try await table.run(say).text == "<\(Self.value)>\n", "nobody has it as a secret yet")
            // One that is there before, and one that prints only after the other has ended: it has it in memory.
            let before = try await table.shell("\(Self.until("go", process)); \(say) >&2; \(say)")
            let late = try await table.shell("\(Self.until("late", process)); \(say)")
            let owner = try await table.shell(Self.until("over", process), secrets: ["TOKEN": Self.value])
            // By the way that needs no guess: the kernel shows the environment.
            let look = "cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a -m1 ^TOKEN="
            var shown = ""
            // Until it runs its own program it has the environment of init.
            while shown.isEmpty { shown = try await table.run(look).text }
            #expect(shown == "TOKEN=\(Self.stars)\n")
            #expect(try await table.run(say).text == "<\(Self.stars)>\n")
            Self.open("go", process)
            let told = try await before.finish()
            #expect(told.text == "<\(Self.stars)>\n" && told.errorText == told.text)
            Self.open("over", process)
            _ = try await owner.finish()
            Self.open("late", process)
            #expect(try await late.finish().text == "<\(Self.stars)>\n")
            // Those that ran beside it have ended, and nobody can have it from there.
            try await eventually("it is forgotten") { try await table.run(say).text == "<\(Self.value)>\n" }
        }
    }

    /// Two at once, each masked for both, and what the next daemon makes of it.
    @Test(.endsInTime) func anotherDaemonMasksThemToo() async throws {
        try await InitProcess.with { process in
            let table = try await process.table()
            let other = "the-0ther-value"
            let say = "echo '\(Self.value) \(other)'"
            let script = "\(say); \(Self.until("go", process)); \(say)"
            var sessions: [ExecSession] = []
            for secrets in [["A": Self.value], ["B": other], nil] {
                sessions.append(
                    try await table.shell(secrets == nil ? script : Self.until("go", process), secrets: secrets))
            }
            let exec = try #require(sessions.last).exec
            let line = "\(Self.stars) \(String(repeating: "*", count: other.utf8.count))\n"
            try await eventually("it has printed") { sessions[2].status.stdoutBytes == UInt64(line.utf8.count) }
            table.abandon()
            let next = try await process.table()
            Self.open("go", process)
            #expect(try await next.session(exec).finish().text == line + line)
            await next.close()
        }
    }

    /// To build the patterns takes a while, in which the loop carries the output of all commands.
    @Test(.endsInTime) func theNextDaemonIsReadyToMaskBeforeItsLoopHearsAnything() async throws {
        try await InitProcess.with { process in
            let table = try await process.table()
            _ = try await table.shell(Self.until("go", process), secrets: ["A": Self.value])
            table.abandon()
            let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
            let next = try process.newTable(on: group.next())
            let busy = DispatchSemaphore(value: 0)
            group.next().execute { busy.wait() }
            async let recovered: Void = next.recover()
            do {
                try await eventually("it knows what to mask") { next.isMasking }
                busy.signal()
                try await recovered
            } catch {
                busy.signal()
                throw error
            }
            await next.close()
            try await group.shutdownGracefully()
        }
    }

    @Test func tooManyAreRefusedAndWhatEndedMakesRoom() async throws {
        try await InitProcess.withTable { table, process in
            func secrets(_ letter: Character) -> [String: String] {
                let count = Limits.secretsBytes / Limits.secretBytes
                return Dictionary(
                    uniqueKeysWithValues: (0..<count).map {
                        ("S\($0)", String(repeating: letter, count: Limits.secretBytes - 2) + String($0 + 10))
                    })
            }
            let fitting = Limits.containerSecretsBytes / Limits.secretsBytes
            for letter in "abcdefgh".prefix(fitting) {
                _ = try await table.shell(Self.until("over", process), secrets: secrets(letter))
            }
            await expectFailure(.limit) { _ = try await table.shell("true", secrets: secrets("x")) }
            #expect(
                try await table.shell("echo same", secrets: secrets("a")).finish().text == "same\n", "the same again")
            Self.open("over", process)
            try await eventually("there is room") {
                do {
                    return try await table.shell("true", secrets: secrets("x")).finish().result.exitCode == 0
                } catch let error as FastableError where error.code == .limit { return false }
            }
        }
    }
}
