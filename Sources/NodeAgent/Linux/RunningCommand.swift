import CLinux
import FastableCore
import FoundationEssentials
import Glibc
import Synchronization

/// The started process of a `HostCommand`. Its methods wait, so they run on threads of the `BlockingPool`.
final class RunningCommand: Sendable {
    let command: HostCommand
    let control: CommandControl
    let process: FileDescriptor
    let output: FileDescriptor
    let error: FileDescriptor
    /// The writing end of stdin when it is streamed; closing it is the end of the input.
    let input: Mutex<FileDescriptor?>
    let startedAt: ContinuousClock.Instant

    /// How long a killed process may take to disappear before somebody else waits for it.
    private static let killGrace = Duration.seconds(10)
    static let chunkBytes = 64 * 1024

    init(starting command: HostCommand, control: CommandControl, streamsInput: Bool = false) throws {
        startedAt = .now
        let output = try Self.pipe()
        let error = try Self.pipe()
        let input: FileDescriptor
        var inputWriter: FileDescriptor?
        if streamsInput {
            let pipe = try Self.pipe()
            input = pipe.reading
            inputWriter = .some(pipe.writing)
        } else {
            input = try Self.input(command.standardInput)
        }
        let started = try SpawnRequest(command).start(
            input: input, output: output.writing, error: error.writing)
        self.process = FileDescriptor(owning: started.pidfd)
        control.started(started.pid)
        self.command = command
        self.control = control
        self.output = output.reading
        self.error = error.reading
        self.input = Mutex(inputWriter.take())
    }

    private static func pipe() throws -> Pipe {
        do throws(Errno) { return try Pipe() } catch { throw shortage(error) }
    }

    private static func input(_ data: Data?) throws -> FileDescriptor {
        do throws(Errno) {
            guard let data, !data.isEmpty else { return try FileDescriptor(opening: "/dev/null", O_RDONLY) }
            return try FileDescriptor(checking: data.withUnsafeBytes { fst_memory_file($0.baseAddress, $0.count) })
        } catch { throw shortage(error) }
    }

    private static func shortage(_ error: Errno) -> FastableError {
        FastableError(.unavailable, "The node is short of memory or open files. Try again.", context: "\(error)")
    }

    /// Waits for the process and for what it has printed; `consume` gets stdout. What a daemon that it left behind prints later
    /// is nobody's. Kills the group at the deadline, or when `consume` says `false` or throws.
    func wait(
        timeout: Duration, outputLimit: Int, watchesOutput: Bool = true,
        consume: (UnsafeRawBufferPointer) throws -> Bool
    ) throws -> HostCommand.Result {
        var watch = PollSet(process: process.number, output: watchesOutput ? output.number : -1, error: error.number)
        var stderr = BoundedOutput(limit: outputLimit)
        var failure: (any Error)?
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunkBytes, alignment: 1)
        defer { buffer.deallocate() }
        var deadline = startedAt + timeout
        while let event = watch.next(deadline: deadline) {
            switch event {
            case .deadline:
                if control.ending != nil { return try abandon(stderr.data) }
                control.kill(.timedOut)
                deadline = .now + Self.killGrace
            case .output:
                let count = (try? output.read(into: buffer)) ?? 0
                watch.didRead(event, count)
                guard count > 0, failure == nil, control.ending != .enough else { continue }
                do {
                    let more = try consume(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                    if !more { control.kill(.enough) }
                } catch {
                    failure = error
                    control.kill(.failed)
                }
            case .error:
                let count = (try? error.read(into: buffer)) ?? 0
                watch.didRead(event, count)
                stderr.append(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            }
        }
        return try finish(stderr, failure)
    }

    private func finish(_ stderr: BoundedOutput, _ failure: (any Error)?) throws -> HostCommand.Result {
        let status = try control.reap(process)
        if let failure { throw failure }
        switch control.ending {
        case .cancelled: throw FastableError(.cancelled, "The request was cancelled.")
        case .timedOut: throw timeoutError(stderr.data)
        case .enough, .failed, nil: break
        }
        return HostCommand.Result(
            status: status, stdout: Data(), stderr: stderr.data, duration: .now - startedAt,
            truncated: stderr.truncated, command: command)
    }

    /// The process was killed and does not go away (it hangs in the kernel): somebody else reaps it, whenever that is.
    private func abandon(_ stderr: Data) throws -> HostCommand.Result {
        BlockingPool.shared.submit { [self] in _ = try? control.reap(process) }
        throw timeoutError(stderr)
    }

    private func timeoutError(_ stderr: Data) -> FastableError {
        command.failure(
            .timeout, "The tool ‘\(command.name)’ took too long on the node and was stopped.", nil, stderr)
    }
}

/// Which of a command's descriptors has something to say.
struct PollSet {
    enum Event { case deadline, output, error }

    private var process: pollfd
    private var streams: [pollfd]
    private var exited = false
    /// Bytes that may still be read after the exit: what the process printed fits into its pipes.
    private var drainBytes = 2 * 1024 * 1024

    init(process: CInt, output: CInt, error: CInt) {
        self.process = pollfd(fd: process, events: Int16(POLLIN), revents: 0)
        streams = [output, error].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    }

    /// The next event; `nil` once the process has ended and its pipes are empty.
    mutating func next(deadline: ContinuousClock.Instant) -> Event? {
        while true {
            for index in streams.indices where streams[index].revents != 0 {
                streams[index].revents = 0
                return index == 0 ? .output : .error
            }
            if exited && drainBytes <= 0 { return nil }
            var all = [process] + streams
            let ready = poll(&all, nfds_t(all.count), exited ? 0 : Self.milliseconds(until: deadline))
            if ready < 0 { continue }
            if ready == 0 { return exited ? nil : .deadline }
            streams = Array(all[1...])
            if all[0].revents != 0 {
                exited = true
                process.fd = -1
            }
        }
    }

    mutating func didRead(_ event: Event, _ count: Int) {
        let index = event == .output ? 0 : 1
        if count <= 0 { streams[index].fd = -1 }
        if exited { drainBytes -= count }
    }

    private static func milliseconds(until deadline: ContinuousClock.Instant) -> CInt {
        let left = (deadline - .now).components
        guard left.seconds >= 0, left.attoseconds >= 0 else { return 0 }
        return CInt(min(Int64(CInt.max / 2), left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000 + 1))
    }
}
