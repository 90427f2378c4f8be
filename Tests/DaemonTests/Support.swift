import FastableCore
import FastableDaemon
import FoundationEssentials
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A directory of a test's own; it goes when the test's last reference to it goes.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/fastable-daemon-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String, _ text: String) throws -> String {
        let file = path + "/" + name
        try AtomicFile.write(file, Array(text.utf8))
        return file
    }
}

/// A pipe whose written lines can be read back.
final class Pipe: Sendable {
    let reading: Int32
    let writing: Int32

    init() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        (reading, writing) = (ends[0], ends[1])
    }

    deinit {
        close(reading)
        close(writing)
    }

    /// What is in the pipe now, as text.
    func contents() -> String {
        _ = fcntl(reading, F_SETFL, O_NONBLOCK)
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(reading, &buffer, buffer.count)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}

/// Expects the body to fail with this code and with all these words in its message.
func expectFailure(
    _ code: FastableError.Code = .invalid, _ words: String..., sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = #expect(throws: FastableError.self, sourceLocation: sourceLocation) { try body() }
    #expect(error?.code == code, "\(error?.description ?? "no error")", sourceLocation: sourceLocation)
    for word in words {
        #expect(
            error?.message.contains(word) == true, "‘\(word)’ in: \(error?.message ?? "no error")",
            sourceLocation: sourceLocation)
    }
}
