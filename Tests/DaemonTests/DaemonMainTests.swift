import FastableCore
import FastableDaemon
import Logging
import ServiceLifecycle
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Runs until it is told to stop.
private struct Obedient: Service {
    func run() async throws { try await gracefulShutdown() }
}

/// Ignores being told to stop, and being cancelled. Its operator is impatient: a second signal follows the first.
private struct Deaf: Service {
    func run() async throws {
        await withGracefulShutdownHandler {
            while true { await Task.detached { try? await Task.sleep(for: .seconds(1)) }.value }
        } onGracefulShutdown: {
            kill(getpid(), SIGTERM)
        }
    }
}

private struct Failing: Service {
    func run() async throws {
        throw FastableError(.conflict, "The port 7420 is taken.\nStop the other one.", context: "EADDRINUSE")
    }
}

/// The daemon as a process of its own; `arguments` without the program's name.
private func daemon(
    _ arguments: [String] = [], services: [any Service], afterStart: @escaping @Sendable () -> Void = {}
) async {
    await DaemonMain.run(
        SampleConfiguration.self, arguments: ["fastable-sample"] + arguments, environment: [:]
    ) { _, _ in
        DaemonPlan(services: services, ready: { afterStart() })
    }
}

/// What the process wrote on standard error.
private func errors(_ result: ExitTest.Result?) -> String {
    String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
}

/// Whole processes: what an operator and systemd see.
@Suite(.endsInTime) struct DaemonMainTests {
    @Test func sigtermStopsItGracefully() async {
        let result = await #expect(processExitsWith: .exitCode(0), observing: [\.standardErrorContent]) {
            await daemon(services: [Obedient()]) { kill(getpid(), SIGTERM) }
        }
        #expect(errors(result).contains("stopping signal=SIGTERM"))
    }

    @Test func sigintStopsItGracefully() async {
        let result = await #expect(processExitsWith: .exitCode(0), observing: [\.standardErrorContent]) {
            await daemon(services: [Obedient()]) { kill(getpid(), SIGINT) }
        }
        #expect(errors(result).contains("stopping signal=SIGINT"))
    }

    @Test func aSecondSignalEndsItAtOnce() async {
        let start = ContinuousClock.now
        let result = await #expect(processExitsWith: .exitCode(143), observing: [\.standardErrorContent]) {
            await daemon(services: [Deaf()]) { kill(getpid(), SIGTERM) }
        }
        #expect(errors(result).contains("second signal"))
        #expect(ContinuousClock.now - start < .seconds(Limits.gracefulShutdownSeconds))
    }

    @Test func aFailureIsOneLineAndStatus1() async {
        let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await daemon(services: [Failing(), Obedient()])
        }
        #expect(
            errors(result)
                == "fastable-sample: The port 7420 is taken.\\nStop the other one. (EADDRINUSE)\n")
    }

    @Test func aFailureWhileComposingIsStatus1() async {
        let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await DaemonMain.run(SampleConfiguration.self, arguments: ["x"], environment: [:]) { _, _ in
                throw FastableError(.forbidden, "fastable-sample must run as root.")
            }
        }
        #expect(errors(result) == "fastable-sample: fastable-sample must run as root.\n")
    }

    @Test func aTaskEndsWithoutServices() async {
        await #expect(processExitsWith: .exitCode(0)) {
            await DaemonTask.run(SampleConfiguration.self, arguments: ["x", "--log-level=error"]) { _, _ in }
        }
        let result = await #expect(processExitsWith: .exitCode(1), observing: [\.standardErrorContent]) {
            await DaemonTask.run(SampleConfiguration.self, arguments: ["x", "--log-level=error"]) { _, _ in
                throw FastableError(.notFound, "There is no token file.")
            }
        }
        #expect(errors(result) == "fastable-sample: There is no token file.\n")
    }

    @Test func aWrongConfigurationIsStatus78() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            await daemon(["--api-lisen", "x"], services: [Obedient()])
        }
        #expect(
            errors(result)
                == "fastable-sample: Unknown flag ‘--api-lisen’. Did you mean ‘--api-listen’? See --help.\n")
    }

    @Test func contradictingSettingsAreStatus78() async {
        let result = await #expect(processExitsWith: .exitCode(78), observing: [\.standardErrorContent]) {
            await daemon(["--api-listen", "0.0.0.0:1"], services: [Obedient()])
        }
        #expect(errors(result).contains("must be loopback"))
    }

    @Test func helpGoesToStandardOutput() async {
        let result = await #expect(
            processExitsWith: .exitCode(0), observing: [\.standardOutputContent, \.standardErrorContent]
        ) {
            await daemon(["--version"], services: [])
        }
        let output = String(decoding: result?.standardOutputContent ?? [], as: UTF8.self)
        #expect(output == "fastable-sample \(Version.text)\n")
        #expect(!errors(result).contains("fastable"))
    }
}
