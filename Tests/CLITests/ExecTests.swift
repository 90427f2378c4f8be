import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("fastable exec", .serialized, .endsInTime)
struct ExecTests {
    @Test func exitsAsTheCommandDid() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            for (command, status) in [
                ("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("timeout", 124), ("signal SIGKILL", 137),
                ("signal SIGTERM", 143), ("signal SIGSYS", 159), ("signal SIG34", 162), ("nothing", 127),
            ] as [(String, Int32)] {
                let plain = try await world.cli(["exec", "shop", "--", command])
                #expect(plain.status == status, "\(command): \(plain)")
                #expect(plain.errors.isEmpty && plain.output.isEmpty)
                let json = try await world.cli(["exec", "shop", "--json", "--", command])
                #expect(json.status == status, "\(command): \(json)")
                #expect(try json.json()["execId"]?.string?.hasPrefix("exe_") == true)
            }
        }
    }

    @Test func theLimitThatWasReachedIsTold() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let line = "fastable: The container came to its memory limit of 64 MiB, and the kernel ended ‘node’.\n"
            let result = try await world.cli(["exec", "shop", "--", "oom"])
            #expect(result.status == 137 && result.errorText == line, "\(result)")
            let json = try await world.cli(["exec", "shop", "--json", "--", "oom"]).json()
            #expect(json["limitHit"] == ["limit": "memory", "limitBytes": .integer(64 << 20), "process": "node"])
        }
    }

    @Test func outputThatIsNoLongerKeptIsTold() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let lines = """
                fastable: 98 bytes of stdout are no longer kept.
                fastable: 7 bytes of stderr are no longer kept.

                """
            let result = try await world.cli(["exec", "shop", "--", "gap"])
            #expect(result.status == 0 && result.text == "abc\n" && result.errorText == lines, "\(result)")
            let exec = try #require(world.node.starts.first).exec
            let attached = try await world.cli(["attach", exec.description])
            #expect(attached.status == 0 && attached.text == "c\n" && attached.errorText == lines, "\(attached)")
        }
    }

    @Test func userAndSecretsGoAlong() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let value = "0123456789=x"
            let command = ["exec", "shop", "-u", "1000:10", "--secret-env", "TOKEN", "--", "exit 0"]
            try await world.cli(command, environment: ["TOKEN": value]).requireSuccess()
            let start = try #require(world.node.starts.last)
            #expect(start.command.user == "1000:10" && start.command.secrets?.values == ["TOKEN": value])
            #expect(start.command.environment["TOKEN"] == nil)
            // A value has no place among the arguments, which others can see.
            for wrong in ["NOBODY_SET_THIS", "TOKEN=\(value)"] {
                let refused = try await world.cli(["exec", "shop", "--secret-env", wrong, "--", "exit 0"])
                #expect(refused.status == 64 && !refused.errorText.contains(value), "\(refused)")
            }
        }
    }

    @Test func failsWith125WhenFastableFails() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let command = ["exec", "shop", "--", "exit 0"]
            #expect(
                try await world.cli(command, environment: ["FASTABLE_API_URL": "http://127.0.0.1:9"])
                    .failed(125, saying: "127.0.0.1:9"))
            #expect(try await world.cli(["exec", "ghost", "--", "exit 0"]).failed(125, saying: "ghost"))
            #expect(try await world.cli(command, environment: CLIWorld.loggedOut).failed(125, saying: "login"))
            let long = try await world.cli(["exec", "shop", "--timeout", "901", "--", "exit 0"])
            #expect(long.failed(125, saying: "900"), "\(long)")
            let full = try FileHandle(forWritingTo: URL(fileURLWithPath: "/dev/full"))
            let result = try await world.start(["exec", "shop", "--", "print"], output: full).result()
            #expect(result.status == 125)
            #expect(result.errorText.contains("write the output"), "\(result.errorText)")
        }
    }

    @Test(arguments: ["-d", "-i", "--overflow=drop"])
    func aStartWhoseAnswerIsLostIsAskedForAgainAndStartedOnce(option: String) async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let port = try #require(URL(string: world.apiURL)?.port)
            try await LossyProxy.with(port, losses: 2) { proxy in
                let command = ["exec", option, "shop", "--", "cut"]
                let result = try await world.cli(command, environment: ["FASTABLE_API_URL": proxy.url])
                #expect(world.node.starts.count == 1)
                let exec = try #require(world.node.starts.first).exec
                if option == "-d" {
                    #expect(result.status == 0 && result.text == "\(exec)\n", "\(result)")
                } else {
                    #expect(result.status == 3, "\(result)")
                }
            }
            // What nobody has heard of is not waited for.
            let began = ContinuousClock.now
            let nobody = ["FASTABLE_API_URL": "http://127.0.0.1:9"]
            let refused = try await world.cli(["exec", option, "shop", "--", "cut"], environment: nobody)
            #expect(refused.failed(125, saying: "127.0.0.1:9") && ContinuousClock.now - began < .seconds(30))
        }
    }

    @Test func keepsTheStreamsApartByteForByte() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let small = try await world.cli(["exec", "shop", "--", "print"])
            #expect(small.text == "out\n")
            #expect(small.errorText == "err\n")
            let large = try await world.cli(["exec", "shop", "--", "bytes"])
            #expect(large.status == 0)
            #expect(large.output == FakeExec.stdout)
            #expect(large.errors == FakeExec.stderr)
        }
    }

    @Test func givesTheCommandAsItWasTyped() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            _ = try await world.cli(
                [
                    "exec", "shop", "--cwd", "api", "--env", "A=1=2", "--env", "B=", "--env", "A=3", "--timeout", "5",
                    "--",
                    "node", "--json", "a b", "",
                ])
            _ = try await world.cli(["exec", "shop", "--", "npm ci && npm test"])
            let starts = world.node.starts
            try #require(starts.count == 2)
            #expect(starts[0].command.arguments == ["node", "--json", "a b", ""])
            #expect(starts[0].command.workingDirectory == "/workspace/api")
            #expect(starts[0].command.environment == ["A": "3", "B": ""])
            #expect(starts[0].command.timeoutMilliseconds == 5000)
            #expect(starts[1].command.arguments == ExecCommand.shell("npm ci && npm test"))
            #expect(try await world.cli(["exec", "shop", "--env", "A", "--", "x"]).status == 64)
        }
    }

    @Test func outputComesWhileTheCommandRuns() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop", "--", "wait"])
            try await process.waitForOutput("ready\n")
            #expect(world.node.kills.isEmpty)

            process.send(signal: SIGINT)
            let result = try await process.result()
            #expect(result.status == 130, "the command was ended by SIGINT")
            #expect(result.text == "ready\n")
            #expect(world.node.kills.map(\.signal) == [2])
            #expect(world.node.kills.first?.exec == world.node.starts.first?.exec)
        }
    }

    @Test func aSecondInterruptSoonAfterTheFirstKillsTheCommand() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop", "--", "stubborn"])
            try await process.waitForOutput("ready\n")
            process.send(signal: SIGINT)
            try await process.waitForOutput("got 2\n")
            // One that a busy machine brings too late is a first one again.
            repeat {
                let known = world.node.kills.count
                process.send(signal: SIGINT)
                try await eventually("it has come") { world.node.kills.count > known }
            } while world.node.kills.last?.signal == SIGINT
            let result = try await process.result()
            #expect(result.status == 130)
            #expect(world.node.kills.map(\.signal).drop { $0 == SIGINT }.first == 9, "it is killed when it leaves")
        }
    }

    @Test(arguments: [SIGTERM, SIGHUP, SIGKILL])
    func whenTheProgramDiesTheCommandIsEnded(signal: Int32) async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop", "--", "stubborn"])
            try await process.waitForOutput("ready\n")
            process.send(signal: signal)
            #expect(try await process.result().status == 128 + signal)
            try await eventually("the command is asked to end") { world.node.kills.map(\.signal) == [15] }
        }
    }

    /// `fastable exec shop -- endless | head`
    @Test func aReaderThatGoesAwayEndsItQuietly() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop", "--", "endless"])
            try await process.waitForOutput("more\n")
            process.stopReading()
            let result = try await process.result()
            #expect(result.status == 141)
            #expect(result.errors.isEmpty, "\(result.errorText)")
            try await eventually("the command is asked to end") { world.node.kills.map(\.signal) == [15] }
        }
    }

    // MARK: a way to the command that is lost

    @Test func outputGoesOnWhereTheLinkBroke() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let result = try await world.cli(["exec", "shop", "--", "cut"])
            #expect(result.text == "ready\nand on\n" && result.errors.isEmpty)
            #expect(result.status == 3)
            #expect(world.node.starts.count == 1 && world.node.kills.isEmpty)
        }
    }

    @Test(arguments: [[], ["-i"]]) func withoutAConnectionAnInterruptLeavesAtOnce(options: [String]) async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop"] + options + ["--", "lost"])
            try await eventually("it tries to come back") { world.node.attempts > 1 }
            process.send(signal: SIGINT)
            let result = try await process.result()
            let exec = try #require(world.node.starts.first?.exec)
            #expect(result.status == 125)
            #expect(result.errorText.contains("fastable attach \(exec)"), "\(result.errorText)")
            #expect(world.node.kills.isEmpty, "the command goes on")
        }
    }

    @Test func attachedInterruptsAreCountedToo() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "-i", "shop", "--", "stubborn"])
            try await process.waitForOutput("ready\n")
            process.send(signal: SIGINT)
            try await process.waitForOutput("got 2\n")
            // One that a busy machine brings too late is a first one again.
            repeat {
                let known = world.node.kills.count
                process.send(signal: SIGINT)
                try await eventually("it has come") { world.node.kills.count > known }
            } while world.node.kills.last?.signal == SIGINT
            #expect(try await process.result().status == 130)
            #expect(Array(world.node.kills.map(\.signal).drop { $0 == SIGINT }) == [9])
        }
    }

    /// It is followed again, and is still this program's command.
    @Test(arguments: [SIGTERM, SIGHUP]) func theProgramsEndEndsTheCommandAlsoWhenAttached(signal: Int32) async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let process = try world.start(["exec", "shop", "--", "cut stubborn"])
            try await process.waitForOutput("attached\n")
            process.send(signal: signal)
            #expect(try await process.result().status == 128 + signal)
            try await eventually("the command is asked to end") { world.node.kills.map(\.signal) == [15] }
        }
    }
}
