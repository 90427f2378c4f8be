import ArgumentParser
import AsyncHTTPClient
import Dispatch
import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import Synchronization

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Run a command in a project's container.",
        discussion: """
            One word after ‘--’ is a shell command line; several are a program and its
            arguments, taken as they are. Options of this program stand before ‘--’.

            Examples:
              fastable exec shop -- 'npm ci && npm test'
              fastable exec shop -- python3 -c 'print(6 * 7)'
              fastable exec shop --cwd api --env NODE_ENV=test -- node server.js
              fastable exec shop --timeout 600 -- make all
              fastable exec shop --json -- 'git status --short'
              fastable exec -it shop -- bash              # a shell in a terminal
              fastable exec -i shop -- psql < dump.sql    # with standard input
              fastable exec -d shop -- npm run dev        # goes on by itself; prints its id
              fastable exec --secret-env TOKEN shop -- ./deploy    # masked in its output
              fastable exec -u node shop -- npm test      # as another user than root

            Output arrives as it is printed, byte for byte. Ctrl-C interrupts the
            command; a second one kills it with all its descendants. With -i or -t the
            command goes on when the connection breaks, and is followed again.

            The last \(Limits.execOutputKeptBytes >> 20) MiB of stdout and of stderr are kept. A command that
            prints more waits for those who follow it, also for a minute after they
            vanished; with --overflow drop its oldest output goes instead.

            Exits with the command's own status, and with
              124      when its time ran out
              125      when Fastable itself failed; the message says why
              128 + n  when signal n ended the command
            """)

    @OptionGroup var common: CommonOptions
    @Argument(help: "The project: its name or id.") var project: String
    @Option(help: ArgumentHelp("Directory to run in; /workspace unless given.", valueName: "directory"))
    var cwd: String?
    @Option(name: .long, help: ArgumentHelp("Set a variable; may be repeated.", valueName: "NAME=value"))
    var env: [String] = []
    @Option(
        name: .long,
        help: ArgumentHelp(
            "Pass a variable of this program's own environment whose value is secret; may be repeated.",
            valueName: "NAME"))
    var secretEnv: [String] = []
    @Option(
        name: [.customShort("u"), .long],
        help: ArgumentHelp(
            "Run it as this user of the container: name, uid or uid:gid; root unless given.", valueName: "user"))
    var user: String?
    @Option(
        help: ArgumentHelp(
            "Seconds until the command is killed with all its descendants (1 to \(Limits.execTimeoutLongestSeconds)).",
            valueName: "seconds"))
    var timeout: Int?
    @Flag(name: [.customShort("i"), .long], help: "Send standard input to the command.") var stdin = false
    @Flag(name: [.customShort("t"), .long], help: "Run it in a terminal, which this one stands for.") var tty = false
    @Flag(name: [.customShort("d"), .long], help: "Do not wait: print the command's id and let it go on.") var detach =
        false
    @Option(
        help: ArgumentHelp(
            "When it prints more than is kept: ‘slow’ it down for those who follow it, or ‘drop’ its oldest output.",
            valueName: "slow|drop"))
    var overflow: String?
    @Argument(parsing: .postTerminator, help: "The command.") var command: [String] = []

    func validate() throws {
        guard !command.isEmpty else {
            throw ValidationError("Say what to run after ‘--’, for example: fastable exec \(project) -- ls -la")
        }
        for name in secretEnv where ProcessInfo.processInfo.environment[name] == nil {
            throw ValidationError(
                "‘--secret-env \(name.prefix(while: { $0 != "=" }))’ names no variable of this program's environment. The value "
                    + "stands there and not on the command line, which others can see.")
        }
        if let overflow, ExecOverflow(rawValue: overflow) == nil {
            throw ValidationError("‘--overflow’ is slow or drop, not ‘\(overflow)’.")
        }
        for entry in env where !entry.contains("=") {
            throw ValidationError("‘--env \(entry)’ is not of the form NAME=value, for example: --env NODE_ENV=test")
        }
    }

    func run() async throws {
        let status: Int32
        do {
            let client = try common.client()
            if detach || stdin || tty || overflow == ExecOverflow.drop.rawValue {
                status = try await runAttached(client)
            } else if common.json {
                let answer = try await client.run("shell.exec", input)
                try Output.json(answer)
                status = try JSON.decode(ExecAnswer.self, from: answer).exitStatus
            } else {
                status = try await ExecStream(client: client).run(input)
            }
        } catch {
            Output.error((error as? FastableError).map(CommandFailure.explain) ?? error.localizedDescription)
            status = 125
        }
        throw ExitCode(status)
    }

    /// Starts the command by itself, then follows it unless it is to be left alone.
    private func runAttached(_ client: Client) async throws -> Int32 {
        guard case .object(var input) = input else { return 125 }
        input["detach"] = true
        if stdin { input["openStdin"] = true }
        if tty {
            let size = TerminalMode.size ?? TerminalSize(rows: 24, columns: 80)
            input["tty"] = ["rows": .integer(Int64(size.rows)), "columns": .integer(Int64(size.columns))]
            guard case .object(var env) = input["env"] ?? [:] else { return 125 }
            env["TERM"] = env["TERM"] ?? .string(ProcessInfo.processInfo.environment["TERM"] ?? "xterm")
            input["env"] = .object(env)
        }
        let answer = try await client.run("shell.exec", .object(input))
        let exec = try JSON.decode(Started.self, from: answer).execId
        guard !detach else {
            if common.json { try Output.json(answer) } else { try Output.line(exec) }
            return 0
        }
        let options = AttachSession.Options(
            sendsInput: stdin || tty, isFirstWriter: true, usesTerminal: tty && stdin && TerminalMode.isTerminal)
        return try await AttachSession(client: client, exec: exec, options: options).run()
    }

    private struct Started: Decodable { var execId: String }

    private var input: JSONValue {
        var input: [String: JSONValue] = ["project": .string(project)]
        input["cmd"] = command.count == 1 ? .string(command[0]) : .array(command.map { .string($0) })
        input["cwd"] = cwd.map { .string($0) }
        input["user"] = user.map { .string($0) }
        input["overflow"] = overflow.map { .string($0) }
        input["timeoutSec"] = timeout.map { .integer(Int64($0)) }
        if !env.isEmpty {
            let pairs = env.map { entry in
                let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), JSONValue.string(String(parts[1])))
            }
            input["env"] = .object(Dictionary(pairs) { _, last in last })
        }
        if !secretEnv.isEmpty {
            let own = ProcessInfo.processInfo.environment
            let pairs = secretEnv.map { ($0, JSONValue.string(own[$0] ?? "")) }
            input["secretEnv"] = .object(Dictionary(pairs) { _, last in last })
        }
        return .object(input)
    }
}

/// What `shell.exec` answers, as far as an exit status needs it.
struct ExecAnswer: Decodable {
    var exitCode: Int32?
    var signal: String?
    var timedOut: Bool

    var exitStatus: Int32 {
        if timedOut { return 124 }
        if let exitCode { return exitCode }
        return 128 + (signal.map(ExecAnswer.number(ofSignal:)) ?? 0)
    }

    /// The numbers of Linux, where the command ran. Those without a name come as `SIG34`.
    private static func number(ofSignal name: String) -> Int32 {
        [
            "SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6, "SIGBUS": 7, "SIGFPE": 8,
            "SIGKILL": 9, "SIGUSR1": 10, "SIGSEGV": 11, "SIGUSR2": 12, "SIGPIPE": 13, "SIGALRM": 14, "SIGTERM": 15,
            "SIGSTKFLT": 16, "SIGXCPU": 24, "SIGXFSZ": 25, "SIGVTALRM": 26, "SIGPROF": 27, "SIGIO": 29, "SIGPWR": 30,
            "SIGSYS": 31,
        ][name] ?? Int32(name.dropFirst(3)) ?? 0
    }
}

/// One command as a stream: the answer is a sequence of link frames, data as it comes, the result last.
private struct ExecStream {
    let client: Client

    func run(_ input: JSONValue) async throws -> Int32 {
        var request = client.request(.POST, "/api/tools/shell.exec")
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "accept", value: "application/vnd.fastable.frames")
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let interrupts = Interrupts(client: client)
        let source = interrupts.listen()
        defer { source.cancel() }
        let response = try await client.send(request, timeout: .hours(24))
        do {
            return try await follow(response, interrupts)
        } catch let error as FastableError {
            throw error
        } catch {
            throw Self.lost
        }
    }

    private func follow(_ response: HTTPClientResponse, _ interrupts: Interrupts) async throws -> Int32 {
        var decoder = FrameStreamDecoder()
        for try await chunk in response.body {
            decoder.append(chunk)
            while let frame = try decoder.next() {
                switch (frame.type, frame.channel) {
                case (.data, 2): try Output.bytes(Data(buffer: frame.payload), to: STDERR_FILENO)
                case (.data, _): try Output.bytes(Data(buffer: frame.payload))
                case (.message, _):
                    let message = try JSON.decode(Message.self, from: Data(buffer: frame.payload))
                    message.gap?.tell()
                    if let started = message.started { interrupts.began(exec: started.execId) }
                    if let result = message.result { return result.exitStatus }
                    if let error = message.error { throw error }
                default: break
                }
            }
        }
        throw Self.lost
    }

    private static let lost = FastableError(
        .unavailable,
        "The connection to the controller was lost while the command ran; the command may still run. Look for it with "
            + "‘fastable ps PROJECT’ and follow it with ‘fastable attach EXEC’.")

    private struct Message: Decodable {
        struct Started: Decodable { var execId: String }
        var started: Started?
        var gap: OutputGap?
        var result: ExecAnswer?
        var error: FastableError?
    }
}

/// Output that is no longer kept.
struct OutputGap: Decodable {
    var stream: String
    var from: UInt64
    var to: UInt64

    /// Says so to whoever looks on.
    func tell() { Output.error("\(to - min(from, to)) bytes of \(stream) are no longer kept.") }
}

/// Ctrl-C: the first goes to the command as SIGINT, the second ends this program, at which the controller kills the command with
/// all its descendants.
private final class Interrupts: Sendable {
    private struct State {
        var exec: String?
        var count = 0
    }

    private let state = Mutex(State())
    private let client: Client

    init(client: Client) { self.client = client }

    /// Takes the signal over; it is ours until the source is cancelled.
    func listen() -> any DispatchSourceSignal {
        #if canImport(Darwin)
            signal(SIGINT, SIG_IGN)
        #endif
        let source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
        source.setEventHandler { self.interrupted() }
        source.resume()
        return source
    }

    private func interrupted() {
        let (count, exec) = state.withLock { state in
            state.count += 1
            return (state.count, state.exec)
        }
        // At once, also while a write to a terminal or pipe that nobody reads holds everything else up.
        guard count == 1, let exec else { _exit(128 + SIGINT) }
        Task { _ = try? await client.run("shell.kill", ["execId": .string(exec), "signal": "SIGINT"]) }
    }

    func began(exec: String) { state.withLock { $0.exec = exec } }
}
