import ArgumentParser
import FastableCore
import Foundation

/// Options that every command has.
struct CommonOptions: ParsableArguments {
    @Flag(name: .long, help: "Print the answer as JSON.")
    var json = false

    @Option(name: .long, help: ArgumentHelp("Which login to use.", valueName: "name"))
    var context: String?

    func client() throws -> Client { try Client(context: try Contexts.resolve(named: context)) }

    /// Runs an operation and shows its answer: as JSON when asked, otherwise as `describe` says it.
    func show<Value: Decodable>(
        _ operation: String, _ input: JSONValue, as type: Value.Type, _ describe: (Value) -> String
    ) async throws {
        try await CommandFailure.explained {
            let answer = try await client().run(operation, input)
            if json {
                try Output.json(answer)
            } else {
                try Output.line(describe(try JSON.decode(type, from: answer)))
            }
        }
    }
}

enum Output {
    static func line(_ text: String) throws {
        try bytes(Data((text.hasSuffix("\n") || text.isEmpty ? text : text + "\n").utf8))
    }

    /// Writes all of it. When nobody reads any more (`| head`), the program ends without a word, as SIGPIPE would end it; the
    /// network library has that signal ignored.
    static func bytes(_ data: Data, to file: Int32 = STDOUT_FILENO) throws {
        guard try isWritten(data, to: file) else { _exit(128 + SIGPIPE) }
    }

    /// Writes all of it; `false` when nobody reads any more.
    static func isWritten(_ data: Data, to file: Int32 = STDOUT_FILENO) throws -> Bool {
        var rest = data[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                var waiting = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waiting, 1, -1)
            } else if errno == EPIPE {
                return false
            } else if errno != EINTR {
                var failure = FastableError.system(errno, cannot: "write the output")
                // A full disk here is nothing that the controller or a node could mend.
                failure.code = .internal
                throw failure
            }
        }
        return true
    }

    static func error(_ text: String) { try? bytes(Data("fastable: \(text)\n".utf8), to: STDERR_FILENO) }

    static func json(_ answer: Data) throws {
        try line(String(decoding: try JSON.encodePretty(try JSON.decode(JSONValue.self, from: answer)), as: UTF8.self))
    }

    /// Columns as wide as their widest cell, two spaces apart.
    static func table(_ header: [String], _ rows: [[String]]) -> String {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            row.enumerated().map { index, cell in
                index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    static func size(_ bytes: Int) -> String {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"]
        var value = Double(bytes)
        var unit = 0
        while value >= 1024, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return unit == 0 ? "\(bytes) B" : String(format: "%.1f ", value) + units[unit]
    }
}

/// Turns an error into one line on stderr and an exit status.
enum CommandFailure {
    static func explained(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch let error as FastableError {
            Output.error(explain(error))
            throw ExitCode(status(of: error))
        } catch let exit as ExitCode {
            throw exit
        } catch {
            // Of this machine: a file that cannot be read, a directory that cannot be made.
            Output.error(error.localizedDescription)
            throw ExitCode(1)
        }
    }

    /// The message, and below it the lines of a file that come nearest to a text that was not found.
    static func explain(_ error: FastableError) -> String {
        let lines = (error.details["nearest"]?.array ?? []).compactMap { entry -> String? in
            guard let line = entry["line"]?.integer, let text = entry["text"]?.string else { return nil }
            return text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
                .map { "\n  \(line + Int64($0.offset)): \($0.element)" }.joined()
        }
        return error.message + lines.joined()
    }

    static func status(of error: FastableError) -> Int32 {
        switch error.code {
        case .unavailable: 69
        case .unauthenticated, .forbidden: 77
        case .invalid, .unprocessable, .notFound, .conflict, .ambiguous, .stale, .gone, .binary, .tooLarge, .limit,
            .timeout, .cancelled, .internal:
            1
        }
    }
}
