import FastableCore
import FoundationEssentials
import Glibc
import Synchronization

extension HostCommand {
    /// Runs the tool with streamed input and output. A slow `output` slows the tool, and the tool slows `input`.
    ///
    /// - Parameters:
    ///   - input: the next bytes of stdin, `nil` at the end. It must heed cancellation: the tool may end before it reads everything.
    ///   - output: gets stdout in pieces of at most 64 KiB.
    /// - Returns: how the tool ended; `stdout` is empty.
    public func stream(
        timeout: Duration, input: (@Sendable () async throws -> [UInt8]?)? = nil,
        output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> Result {
        let control = CommandControl()
        return try await withTaskCancellationHandler {
            let process = try await pool.run {
                try RunningCommand(starting: self, control: control, streamsInput: input != nil)
            }
            return try await Self.pump(process, timeout, input, output)
        } onCancel: {
            control.kill(.cancelled)
        }
    }

    private enum Part: Sendable { case fed, drained, ended(Result) }

    private static func pump(
        _ process: RunningCommand, _ timeout: Duration, _ input: (@Sendable () async throws -> [UInt8]?)?,
        _ output: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> Result {
        let pool = process.command.pool
        return try await withThrowingTaskGroup(of: Part.self) { group in
            group.addTask {
                while let chunk = try await input?() {
                    guard try await pool.run({ try process.write(chunk) }) else { break }
                }
                process.closeInput()
                return .fed
            }
            group.addTask {
                while let chunk = try await pool.run({ try process.readOutput() }) {
                    try await output(chunk)
                }
                return .drained
            }
            group.addTask {
                .ended(try await pool.run { try process.waitBesideReader(timeout: timeout) })
            }
            do {
                var result: Result?
                var drained = false
                while let part = try await group.next() {
                    switch part {
                    case .fed: break
                    case .drained: drained = true
                    case .ended(let value): result = value
                    }
                    if drained, let result {
                        group.cancelAll()
                        return result
                    }
                }
                throw CancellationError()
            } catch {
                process.control.kill(.failed)
                group.cancelAll()
                throw error
            }
        }
    }
}

extension RunningCommand {
    /// Writes to stdin, and waits while the pipe is full; `false` when nobody will read any more.
    func write(_ bytes: [UInt8]) throws -> Bool {
        guard let writer = try input.withLock({ try $0?.duplicate() }) else { return false }
        var rest = bytes[...]
        while !rest.isEmpty {
            guard waitFor(writer.number, POLLOUT) else { return false }
            // A pipe that polls writable takes this many bytes without waiting.
            let piece = Array(rest.prefix(Int(PIPE_BUF)))
            do throws(Errno) {
                try writer.writeAll(piece)
            } catch {
                if error.number == EPIPE { return false }
                throw error
            }
            rest = rest.dropFirst(piece.count)
        }
        return true
    }

    func closeInput() { input.withLock { $0 = nil } }

    /// The next bytes of stdout; `nil` at its end, and when the process has ended and the pipe is empty.
    func readOutput() throws -> [UInt8]? {
        guard waitFor(output.number, POLLIN) else { return nil }
        var failure: Errno?
        let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunkBytes) { buffer, count in
            do throws(Errno) { count = try output.read(into: .init(buffer)) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes.isEmpty ? nil : bytes
    }

    /// Like `wait`, but leaves stdout to `readOutput`.
    func waitBesideReader(timeout: Duration) throws -> HostCommand.Result {
        try wait(timeout: timeout, outputLimit: Limits.hostCommandOutputBytes, watchesOutput: false) { _ in true }
    }

    /// Waits until the descriptor is ready; `false` when the process ended first.
    private func waitFor(_ descriptor: CInt, _ events: CInt) -> Bool {
        var set = [
            pollfd(fd: descriptor, events: Int16(events), revents: 0),
            pollfd(fd: process.number, events: Int16(POLLIN), revents: 0),
        ]
        while poll(&set, nfds_t(set.count), -1) < 0 {}
        return set[0].revents != 0
    }
}
