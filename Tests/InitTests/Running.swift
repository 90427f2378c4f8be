import FastableCore
import Foundation
import NIOCore
import NodeSandbox

/// What a command printed and how it ended.
struct Finished {
    var stdout = Data()
    var stderr = Data()
    var gaps: [ExecChunk] = []
    var result: ExecResult

    var text: String { String(decoding: stdout, as: UTF8.self) }
    var errorText: String { String(decoding: stderr, as: UTF8.self) }
}

extension ExecTable {
    func start(
        _ arguments: [String], exec: ExecID = ExecID(), cwd: String = "/", environment: [String: String] = [:],
        milliseconds: Int = 600_000, user: ExecUser = ExecUser(uid: 0, gid: 0), takesInput: Bool = false,
        terminal: TerminalSize? = nil, secrets: [String: String]? = nil, overflow: ExecOverflow = .slow
    ) async throws -> ExecSession {
        var all = ["PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
        all.merge(environment) { _, new in new }
        let command = ExecCommand(
            arguments: arguments, workingDirectory: cwd, environment: all, timeoutMilliseconds: milliseconds,
            takesInput: takesInput, terminal: terminal, secrets: secrets.map { ExecSecrets($0) }, overflow: overflow)
        return try await start(exec: exec, container: container, command: command, user: user)
    }

    func shell(
        _ text: String, exec: ExecID = ExecID(), milliseconds: Int = 600_000, secrets: [String: String]? = nil,
        overflow: ExecOverflow = .slow
    ) async throws -> ExecSession {
        try await start(
            ExecCommand.shell(text), exec: exec, milliseconds: milliseconds, secrets: secrets, overflow: overflow)
    }

    /// Runs a shell command to its end.
    func run(_ text: String, milliseconds: Int = 600_000) async throws -> Finished {
        try await shell(text, milliseconds: milliseconds).finish()
    }
}

extension ExecSession {
    func finish(stdoutFrom: UInt64 = 0, stderrFrom: UInt64 = 0) async throws -> Finished {
        try await events(stdoutFrom: stdoutFrom, stderrFrom: stderrFrom).finish()
    }
}

extension ExecReader {
    func finish() async throws -> Finished {
        var stdout = Data()
        var stderr = Data()
        var gaps: [ExecChunk] = []
        while let chunk = try await next() {
            switch chunk {
            case .started, .inputPassed: break
            case .data(1, let bytes): stdout.append(contentsOf: bytes.readableBytesView)
            case .data(_, let bytes): stderr.append(contentsOf: bytes.readableBytesView)
            case .gap: gaps.append(chunk)
            case .finished(let result):
                return Finished(stdout: stdout, stderr: stderr, gaps: gaps, result: result)
            }
        }
        throw FastableError(.internal, "the reader ended without a result")
    }
}
