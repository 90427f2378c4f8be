import FastableCore
import Glibc

/// A directory of the test's own; removed with it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        // Short: paths of sockets below it have little room.
        var template = Array("/tmp/fbs-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil, let end = template.firstIndex(of: 0) else {
            throw FastableError.system(errno, cannot: "make a directory for the test")
        }
        path = String(decoding: template[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // Containers look up their files below it.
        chmod(path, 0o711)
    }

    deinit { Self.remove(path) }

    private static func remove(_ path: String) {
        // What is still mounted or in use stays, and is seen by whoever looks for leftovers.
        if unlink(path) == 0 { return }
        if let stream = opendir(path) {
            while let entry = readdir(stream) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                    String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." { remove(path + "/" + name) }
            }
            closedir(stream)
        }
        rmdir(path)
    }
}
