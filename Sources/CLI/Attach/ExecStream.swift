import AsyncHTTPClient
import Dispatch
import FastableCore
import FastableWire
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import Synchronization

/// One command as a stream: the answer is a sequence of link frames, data as it comes, the result last. When that breaks off after
/// the command has started, it is attached to where the stream ended.
struct ExecStream {
    let client: Client

    /// How far the command has been followed.
    private struct Progress {
        var exec: String?
        var stdout: UInt64 = 0
        var stderr: UInt64 = 0
        /// Nobody knows whether it has started.
        var doubt: FastableError?
    }

    /// The way to the command is lost, and the command goes on.
    private struct Lost: Error {}

    func run(_ input: JSONValue) async throws -> Int32 {
        var request = client.request(.POST, "/api/tools/shell.exec")
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "accept", value: "application/vnd.fastable.frames")
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let interrupts = Interrupts(client: client)
        let source = interrupts.listen()
        defer { source.cancel() }
        var progress = Progress()
        do {
            let response = try await send(request, &progress)
            let status = try await follow(response, interrupts, &progress)
            await Parting.finish()
            return status
        } catch let error as FastableError {
            await Parting.finish()
            throw error
        } catch {
            await Parting.finish()
            return try await attach(progress, interrupts)
        }
    }

    private func attach(_ progress: Progress, _ interrupts: Interrupts) async throws -> Int32 {
        guard let exec = progress.exec else { throw Self.lost }
        let options = AttachSession.Options(
            isToldInterrupts: true, parting: .ends, stdoutOffset: progress.stdout, stderrOffset: progress.stderr)
        let session = AttachSession(client: client, exec: exec, options: options)
        interrupts.handOver(to: session)
        do {
            return try await session.run()
        } catch let error as FastableError where error.code == .notFound {
            throw progress.doubt ?? error
        } catch var error as FastableError where error.code == .unavailable {
            error.message += " Come back to the command with ‘fastable attach \(exec)’."
            throw error
        }
    }

    private func send(_ request: HTTPClientRequest, _ progress: inout Progress) async throws -> HTTPClientResponse {
        do {
            return try await client.send(request, timeout: .hours(24))
        } catch let error as FastableError {
            if let loss = Self.loss(error, &progress) { throw loss }
            throw error
        }
    }

    /// Throws `FastableError` for what cannot be mended by attaching.
    private func follow(
        _ response: HTTPClientResponse, _ interrupts: Interrupts, _ progress: inout Progress
    ) async throws -> Int32 {
        var decoder = FrameStreamDecoder()
        for try await chunk in response.body {
            decoder.append(chunk)
            while let frame = try decoder.next() {
                switch (frame.type, frame.channel) {
                case (.data, 2):
                    try Output.bytes(Data(buffer: frame.payload), to: STDERR_FILENO)
                    progress.stderr += UInt64(frame.payload.readableBytes)
                case (.data, _):
                    try Output.bytes(Data(buffer: frame.payload))
                    progress.stdout += UInt64(frame.payload.readableBytes)
                case (.message, _):
                    let message = try JSON.decode(Message.self, from: Data(buffer: frame.payload))
                    if let gap = message.gap {
                        gap.tell()
                        if gap.stream == "stderr" { progress.stderr = gap.to } else { progress.stdout = gap.to }
                    }
                    if let started = message.started {
                        progress.exec = started.execId
                        interrupts.began(exec: started.execId)
                    }
                    if let result = message.result {
                        result.tellLimit()
                        return result.exitStatus
                    }
                    if let error = message.error {
                        if let loss = Self.loss(error, &progress) { throw loss }
                        throw error
                    }
                default: break
                }
            }
        }
        throw Lost()
    }

    /// Present when the controller has lost the command's node, or stops itself.
    private static func loss(_ error: FastableError, _ progress: inout Progress) -> Lost? {
        guard error.code == .unavailable, error.details["killSwitch"] == nil,
            let exec = progress.exec ?? error.details["execId"]?.string
        else { return nil }
        if progress.exec == nil { progress.doubt = error }
        progress.exec = exec
        return Lost()
    }

    private static let lost = FastableError(
        .unavailable,
        "The connection to the controller was lost before it told that the command started; it may run. Look for it with "
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

/// Ctrl-C of a command that is followed as a stream. The end of this program ends the command.
private final class Interrupts: Sendable {
    private struct State {
        var exec: String?
        var counter = InterruptCounter()
        var session: AttachSession?
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
        if let session = state.withLock({ $0.session }) { return session.interrupted() }
        let (isSecond, exec) = state.withLock { state in
            (state.counter.interrupted(at: .now), state.exec)
        }
        guard let exec else { _exit(128 + SIGINT) }
        guard !isSecond else { return Parting.kills.leave(client, exec, status: 128 + SIGINT) }
        Task { _ = try? await client.run("shell.kill", ["execId": .string(exec), "signal": "SIGINT"]) }
    }

    func began(exec: String) { state.withLock { $0.exec = exec } }

    func handOver(to session: AttachSession) { state.withLock { $0.session = session } }
}
