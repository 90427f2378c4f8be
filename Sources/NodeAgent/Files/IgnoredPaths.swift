import CLinux
import FastableCore
import Glibc
import NodeLinux

/// What ignore files leave out, told to ripgrep, which reads no ignore file of a workspace itself.
struct IgnoredPaths: Sendable {
    /// What is left out, as it is found.
    struct Draft {
        fileprivate var paths: Set<[UInt8]> = []
        /// For ripgrep.
        fileprivate var rules: [UInt8] = []
        private var bytes = 0

        /// - Throws: `limit` when it is too much to be remembered.
        mutating func add(_ path: [UInt8], isDirectory: Bool) throws {
            bytes += path.count + Limits.searchIgnoredPathBytes
            guard bytes <= Limits.searchIgnoredBytes else {
                throw FastableError(
                    .limit,
                    "Ignore files leave out more files one by one than a search remembers: \(Limits.searchIgnoredBytes) bytes. "
                        + "Narrow it with ‘path’, ignore whole directories, or search with ‘includeIgnored’.",
                    details: ["limit": .integer(Int64(Limits.searchIgnoredBytes))])
            }
            paths.insert(path)
            guard let line = IgnoredPaths.line(path) else { return }
            rules += line
            if isDirectory { rules.append(UInt8(ascii: "/")) }
            rules.append(0x0a)
        }
    }

    private let paths: Set<[UInt8]>
    /// In memory; ripgrep opens it by its number.
    let file: OpenFile
    static let descriptor: CInt = 3
    static let arguments = ["--ignore-file=/proc/self/fd/\(descriptor)"]

    init(_ draft: Draft) throws {
        paths = draft.paths
        do throws(Errno) {
            file = try OpenFile(
                FileDescriptor(checking: draft.rules.withUnsafeBytes { fst_memory_file($0.baseAddress, $0.count) }))
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
