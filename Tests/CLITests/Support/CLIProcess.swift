import FastableCore
import Foundation
import Synchronization
import TestSupport
import Testing

/// How a run of the program ended.
struct CLIResult: Sendable {
    var status: Int32
    var output: Data
    var errors: Data

    var text: String { String(decoding: output, as: UTF8.self) }
    var errorText: String { String(decoding: errors, as: UTF8.self) }
    func json() throws -> JSONValue { try JSON.decode(from: output) }

    @discardableResult
    func requireSuccess() throws -> CLIResult {
        guard status == 0 else { throw FastableError(.internal, "exit status \(status): \(errorText)") }
        return self
    }

    /// Whether it failed with this status and one line that says why.
    func failed(_ status: Int32, saying text: String = "fastable") -> Bool {
        self.status == status && output.isEmpty && errorText.hasPrefix("fastable: ") && errorText.contains(text)
            && errorText.split(separator: "\n", omittingEmptySubsequences: false).count == 2
            && errorText.hasSuffix("\n")
    }
}

/// A run of the program.
final class CLIProcess: Sendable {
    let pid: Int32
    private let input: FileHandle
    private let output: PipeReader?
    private let errors: PipeReader
    private let exit: Exit

    /// `output` is where stdout goes when it is not to be read.
    init(_ arguments: [String], environment: [String: String], output: FileHandle? = nil) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(BuiltProgram.path("fastable")))
        process.arguments = arguments
        process.environment = environment
        let input = Pipe()
        let errors = Pipe()
        process.standardInput = input
        process.standardError = errors
        if let output {
            process.standardOutput = output
            self.output = nil
        } else {
            let pipe = Pipe()
            process.standardOutput = pipe
            self.output = PipeReader(pipe.fileHandleForReading)
        }
        let exit = Exit()
        process.terminationHandler = { process in
            // The shell's way: 128 + n for signal n.
            exit.happened(process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0))
        }
        try process.run()
        self.pid = process.processIdentifier
        self.input = input.fileHandleForWriting
        self.errors = PipeReader(errors.fileHandleForReading)
        self.exit = exit
    }

    func result(input bytes: Data = Data()) async throws -> CLIResult {
        try? input.write(contentsOf: bytes)
        try? input.close()
        let status = await exit.status()
        return CLIResult(status: status, output: await output?.all() ?? Data(), errors: await errors.all())
    }

    func send(signal: Int32) { kill(pid, signal) }

    /// Waits until it has printed this.
    func waitForOutput(_ text: String) async throws {
        try await eventually("the program prints ‘\(text)’") {
            String(decoding: output?.sofar ?? Data(), as: UTF8.self).contains(text)
        }
    }

    /// Nobody reads its output any more.
    func stopReading() { output?.stop() }
}

/// The end of a process, for whoever waits for it.
private final class Exit: Sendable {
    private let state = Mutex<(status: Int32?, waiter: CheckedContinuation<Int32, Never>?)>((nil, nil))

    func happened(_ status: Int32) {
        let waiter = state.withLock { state in
            state.status = status
            return state.waiter
        }
        waiter?.resume(returning: status)
    }

    func status() async -> Int32 {
        await withCheckedContinuation { waiter in
            let known = state.withLock { state -> Int32? in
                if state.status == nil { state.waiter = waiter }
                return state.status
            }
            if let known { waiter.resume(returning: known) }
        }
    }
}

/// Reads a pipe on a thread of its own, so that no task waits in a system call.
private final class PipeReader: Sendable {
    private struct State {
        var bytes = Data()
        var isStopped = false
        var isDone = false
        var waiter: CheckedContinuation<Data, Never>?
    }

    private let state = Mutex(State())

    init(_ handle: FileHandle) {
        Thread.detachNewThread { [self] in
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while !state.withLock({ $0.isStopped }) {
                let count = read(handle.fileDescriptor, &buffer, buffer.count)
                guard count > 0 else { break }
                state.withLock { $0.bytes.append(contentsOf: buffer[..<count]) }
            }
            try? handle.close()
            let (waiter, bytes) = state.withLock { state in
                state.isDone = true
                return (state.waiter, state.bytes)
            }
            waiter?.resume(returning: bytes)
        }
    }

    var sofar: Data { state.withLock { $0.bytes } }

    func stop() { state.withLock { $0.isStopped = true } }

    func all() async -> Data {
        await withCheckedContinuation { waiter in
            let done = state.withLock { state -> Data? in
                if !state.isDone { state.waiter = waiter }
                return state.isDone ? state.bytes : nil
            }
            if let done { waiter.resume(returning: done) }
        }
    }
}
