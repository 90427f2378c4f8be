import FastableCore
import Foundation
import NIOCore

/// The system's tar: it knows the file system of this machine better than we do.
struct Tar {
    private let process: Process
    private let input: FileHandle
    /// What it writes. It ends only when tar says that all is well: a file that could not be read leaves an archive that looks whole.
    let output: PipeBytes

    /// - Parameter consequence: what a person wants to know when tar fails.
    static func start(_ arguments: [String], whenItFails consequence: String = "") throws -> Tar {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["tar"] + arguments
        let input = Pipe()
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        do {
            try process.run()
        } catch {
            throw FastableError(
                .unavailable, "The program tar could not be started. Install it, or put it on your PATH.",
                context: "\(error)")
        }
        return Tar(
            process: process, input: input.fileHandleForWriting,
            output: PipeBytes(handle: output.fileHandleForReading) {
                try Self.checkEnd(of: process, consequence)
            })
    }

    /// `false` when it takes no more.
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let count = write(input.fileDescriptor, piece.baseAddress, piece.count)
            guard count >= 0 || errno == EINTR else { return false }
            rest = rest.dropFirst(max(0, count))
        }
        return true
    }

    /// Ends it; what it wrote so far stays. Only SIGKILL does that: the others are blocked in a child of a dispatch thread.
    func abandon() {
        guard process.isRunning else { return }
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
    }

    func finish() throws {
        try? input.close()
        try Self.checkEnd(of: process, "")
    }

    private static func checkEnd(of process: Process, _ consequence: String) throws {
        process.waitUntilExit()
        guard process.terminationStatus == 0 else {
            throw FastableError(
                .internal, "tar failed with status \(process.terminationStatus); see its message above.\(consequence)")
        }
    }
}

/// What a pipe gives, as a body. Reading blocks one thread of this short-lived program, which has nothing else to do.
struct PipeBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let handle: FileHandle
    /// Throws when what came is not all there should be.
    let checkEnd: @Sendable () throws -> Void

    struct AsyncIterator: AsyncIteratorProtocol {
        let handle: FileHandle
        let checkEnd: @Sendable () throws -> Void

        mutating func next() async throws -> ByteBuffer? {
            var bytes = ByteBuffer()
            let count = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: 256 * 1024) { space in
                while true {
                    let count = read(handle.fileDescriptor, space.baseAddress, space.count)
                    if count >= 0 || errno != EINTR { return Swift.max(0, count) }
                }
            }
            guard count == 0 else { return bytes }
            // A pipe that cannot be read has ended as well: tar's exit status tells what happened.
            try checkEnd()
            return nil
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(handle: handle, checkEnd: checkEnd) }
}
