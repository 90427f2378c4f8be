import ArgumentParser
import FastableCore
import Foundation

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
            command; a second one within \(Limits.secondInterruptSeconds) seconds kills it with all its
            descendants. With -t Ctrl-C is a key like any other.

            A node or controller that is lost for up to a minute is waited for: the
            output goes on at the byte where it stopped. Ctrl-C ends the waiting. When
            only this program's own connection breaks, the command ends, as if the
            program had been ended; with -i it goes on and is come back to. With -i,
            -t and -d that holds for its start too, and it is never started twice.

            When this program is ended, so is the command: it gets SIGTERM, and what is
            left of it \(Limits.execCancelGraceSeconds) seconds later is killed. With -t it gets SIGHUP, as from a
            terminal that is closed; with -i alone it goes on.

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
    @OptionGroup var environment: EnvironmentOptions
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
        // It goes on by itself, so that nobody else would find out what became of one whose answer is lost.
        let answer = try await client.runOnce("shell.exec", .object(input))
        let exec = try JSON.decode(Started.self, from: answer).execId
        guard !detach else {
            if common.json { try Output.json(answer) } else { try Output.line(exec) }
            return 0
        }
        let options = AttachSession.Options(
            sendsInput: stdin || tty, isFirstWriter: true, usesTerminal: tty && stdin && TerminalMode.isTerminal,
            parting: tty ? .hangsUp : .goesOn)
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
        input["env"] = environment.json
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
    var limitHit: LimitHit?

    /// Says what the exit status cannot.
    func tellLimit() {
        if let limitHit { Output.error(limitHit.text) }
    }

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
