import CLinux
import FastableCore
import Glibc
import NodeLinux

/// What ignore files leave out, told to ripgrep, which reads no ignore file of a workspace itself.
struct IgnoredPaths: Sendable {
    private let paths: Set<[UInt8]>
    /// In memory; ripgrep opens it by its number.
    let file: OpenFile
    static let descriptor: CInt = 3
    static let arguments = ["--ignore-file=/proc/self/fd/\(descriptor)"]

    init(_ ignored: [(path: [UInt8], isDirectory: Bool)]) throws {
        paths = Set(ignored.map(\.path))
        var text: [UInt8] = []
        for (path, isDirectory) in ignored {
            guard let line = Self.line(path) else { continue }
            text += line
            text += isDirectory ? Array("/\n".utf8) : Array("\n".utf8)
        }
        do throws(Errno) {
            file = try OpenFile(
                FileDescriptor(checking: text.withUnsafeBytes { fst_memory_file($0.baseAddress, $0.count) }))
        } catch {
            throw FastableError(.unavailable, "The node is short of memory. Try again.", context: "\(error)")
        }
    }

    /// A rule for one path; `nil` for a name that no rule can spell. ripgrep goes into those, and `contains` leaves them out.
    private static func line(_ path: [UInt8]) -> [UInt8]? {
        guard let last = path.last, last > 0x20, last < 0x7f, !path.contains(0x0a),
            String(validating: path, as: UTF8.self) != nil
        else { return nil }
        var line = [UInt8(ascii: "/")]
        for byte in path {
            if "*?[]{}\\".utf8.contains(byte) { line.append(UInt8(ascii: "\\")) }
            line.append(byte)
        }
        return line
    }

    /// Whether a path, or a directory that it is in, is left out.
    func contains(_ path: [UInt8]) -> Bool {
        guard !paths.isEmpty else { return false }
        if paths.contains(path) { return true }
        return path.indices.contains { path[$0] == UInt8(ascii: "/") && paths.contains(Array(path[..<$0])) }
    }
}
