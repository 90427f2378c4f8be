import FastableCore
import Glibc
package import NodeLinux

/// Names that new files have for a moment, before they take the places of old ones. Each is noted outside of the workspace, with the
/// directory that it is in, so that the next daemon removes what the end of one has left.
public struct TemporaryNames: Sendable {
    private let folder: String

    /// - Parameter folder: the node's alone; it is made when it is missing.
    public init(folder: String) {
        self.folder = folder
        mkdir(folder, 0o700)
    }

    package static func random() -> String {
        ".fastable-\(String(UInt64.random(in: 0...UInt64.max), radix: 16)).tmp"
    }

    /// Comes before an entry gets the name. A note that cannot be made keeps no file from being written.
    package func note(_ name: String, in directory: borrowing FileDescriptor) {
        guard let path = Self.path(of: directory) else { return }
        try? FileDescriptor(opening: "\(folder)/\(name)", O_WRONLY | O_CREAT | O_EXCL, mode: 0o600).writeAll(path)
    }

    /// Where a directory is, without symbolic links.
    private static func path(of directory: borrowing FileDescriptor) -> [UInt8]? {
        var path = [CChar](repeating: 0, count: Limits.pathBytes)
        let count = readlink("/proc/self/fd/\(directory.number)", &path, Limits.pathBytes)
        guard count > 0, count < Limits.pathBytes else { return nil }
        return path[..<count].map { UInt8(bitPattern: $0) }
    }

    /// Comes when nothing has the name any more.
    package func forget(_ name: String) { unlink("\(folder)/\(name)") }

    /// Removes what was left in a workspace, before anybody uses its files. Blocks.
    public func removeAll(in workspace: String) throws {
        var names: [String] = []
        try FileDescriptor(opening: folder, O_RDONLY | O_DIRECTORY).forEachEntry { entry in
            names.append(String(decoding: entry.name, as: UTF8.self))
            return true
        }
        guard !names.isEmpty else { return }
        let root = try RootedDirectory(path: workspace)
        for name in names {
            try? remove(name, in: root)
            forget(name)
        }
    }

    private func remove(_ name: String, in root: RootedDirectory) throws(Errno) {
        let path = try FileDescriptor(opening: "\(folder)/\(name)", O_RDONLY).readAll(limit: Limits.pathBytes)
        guard let top = Self.path(of: root.descriptor), path.starts(with: top) else { return }
        let below = path.dropFirst(top.count)
        guard below.isEmpty || below.first == UInt8(ascii: "/") else { return }
        let directory = below.isEmpty ? [UInt8(ascii: ".")] : Array(below.dropFirst())
        try root.openWithoutLinks(directory, O_RDONLY | O_DIRECTORY).removeEntry(name)
    }
}
