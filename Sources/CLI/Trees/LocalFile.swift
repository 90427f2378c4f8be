import FastableCore
import Foundation
import NIOCore
import Synchronization

/// A file of this machine that is read, or written as a whole or not at all; or standard input, or output.
final class LocalFile: Sendable {
    let path: String
    /// Of a file that is read, unless its size says nothing: the kernel's own have none.
    let size: Int?
    let isExecutable: Bool
    private let descriptor: Int32
    /// Where the bytes are until all have come; `nil` when they go to their place at once.
    private let draft: String?

    private init(path: String, descriptor: Int32, size: Int? = nil, isExecutable: Bool = false, draft: String? = nil) {
        self.path = path
        self.descriptor = descriptor
        self.size = size
        self.isExecutable = isExecutable
        self.draft = draft
    }

    deinit { if descriptor > STDERR_FILENO { close(descriptor) } }

    // MARK: reading

    static func toRead(_ path: String) throws -> LocalFile {
        if path == "-" { return LocalFile(path: path, descriptor: STDIN_FILENO) }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        var status = stat()
        fstat(descriptor, &status)
        guard status.st_mode & S_IFMT != S_IFDIR else {
            close(descriptor)
            throw FastableError(.invalid, "‘\(path)’ is a directory. For a whole tree: fastable push --help")
        }
        let isRegular = status.st_mode & S_IFMT == S_IFREG
        return LocalFile(
            path: path, descriptor: descriptor, size: isRegular && status.st_size > 0 ? Int(status.st_size) : nil,
            isExecutable: isRegular && status.st_mode & S_IXUSR != 0)
    }

    /// Empty at the end. A read that fails must not look like that.
    func nextBytes() throws -> ByteBuffer {
        var bytes = ByteBuffer()
        var hasFailed = false
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: 256 * 1024) { space in
            while true {
                let count = read(descriptor, space.baseAddress, space.count)
                if count >= 0 { return count }
                guard errno == EINTR else {
                    hasFailed = true
                    return 0
                }
            }
        }
        guard !hasFailed else { throw Self.failure("read", path) }
        return bytes
    }

    // MARK: writing

    /// - Parameter name: what it is called in a directory.
    static func toWrite(_ path: String, name: String) throws -> LocalFile {
        if path == "-" { return LocalFile(path: path, descriptor: STDOUT_FILENO) }
        var status = stat()
        var path = path
        var exists = stat(path, &status) == 0
        if path.hasSuffix("/") || exists && status.st_mode & S_IFMT == S_IFDIR {
            path = (path.hasSuffix("/") ? path : path + "/") + name
            exists = stat(path, &status) == 0
        }
        // What is replaced is the file that a link leads to.
        let target = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
        if exists, status.st_mode & S_IFMT != S_IFREG {
            let descriptor = open(target, O_WRONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw failure("write", path) }
            return LocalFile(path: path, descriptor: descriptor)
        }
        let draft = target + ".fastable-" + String(UInt32.random(in: .min ... .max), radix: 16)
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure("write", path) }
        if exists { fchmod(descriptor, status.st_mode & 0o777) }
        return LocalFile(path: target, descriptor: descriptor, draft: draft)
    }

    func write(_ bytes: ByteBuffer) throws { try Output.bytes(Data(bytes.readableBytesView), to: descriptor) }

    /// All has come: it takes its place.
    func finish() throws {
        guard let draft else { return }
        guard fsync(descriptor) == 0, rename(draft, path) == 0 else { throw Self.failure("write", path) }
    }

    func abandon() { if let draft { unlink(draft) } }

    private static func failure(_ action: String, _ path: String) -> FastableError {
        var failure = FastableError.system(errno, cannot: "\(action) ‘\(path)’ here")
        // A full disk here is nothing that the controller or a node could mend.
        if failure.code == .unavailable { failure.code = .internal }
        return failure
    }
}

/// What a file holds, as a body.
struct FileBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let file: LocalFile
    let progress: TransferProgress

    struct AsyncIterator: AsyncIteratorProtocol {
        let file: LocalFile
        let progress: TransferProgress

        mutating func next() async throws -> ByteBuffer? {
            let bytes = try file.nextBytes()
            progress.add(bytes.readableBytes)
            return bytes.readableBytes > 0 ? bytes : nil
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(file: file, progress: progress) }
}

/// Tells on a terminal how far a transfer has come, a few times in a second.
final class TransferProgress: Sendable {
    private struct State {
        var bytes = 0
        var shownAt: ContinuousClock.Instant?
    }

    private let state = Mutex(State())
    private let total: Int?
    private let isShown: Bool

    init(of total: Int?, isShown: Bool) {
        self.total = total
        self.isShown = isShown && isatty(STDERR_FILENO) == 1
    }

    var bytes: Int { state.withLock { $0.bytes } }

    func add(_ count: Int) {
        let now = ContinuousClock.now
        let bytes = state.withLock { state -> Int? in
            state.bytes += count
            guard isShown, state.shownAt.map({ now - $0 > .milliseconds(200) }) ?? true else { return nil }
            state.shownAt = now
            return state.bytes
        }
        guard let bytes else { return }
        let text = Output.size(bytes) + (total.map { " of \(Output.size($0))" } ?? "")
        try? Output.bytes(Data("\r\u{1B}[K\(text)".utf8), to: STDERR_FILENO)
    }

    /// The line is there for something else.
    func end() {
        guard isShown else { return }
        try? Output.bytes(Data("\r\u{1B}[K".utf8), to: STDERR_FILENO)
    }
}
