import Crypto
import FastableCore
import Glibc
import NodeLinux

/// A whole tree as lines: every entry with all that a copy must keep. Names that are not UTF-8 are shown in hexadecimal.
enum TreeListing {
    /// - Parameter uidBase: owners are counted from here.
    static func of(_ path: String, uidBase: UInt32) throws -> [String] {
        let top = try FileDescriptor(opening: path, O_RDONLY | O_DIRECTORY)
        var inodes: [UInt64: String] = [:]
        let own = try top.status()
        return try ["/ \(own.mode) \(own.user &- uidBase)"] + below(top, "", uidBase, &inodes)
    }

    private static func below(
        _ directory: borrowing FileDescriptor, _ prefix: String, _ uidBase: UInt32, _ inodes: inout [UInt64: String]
    ) throws -> [String] {
        var names: [[UInt8]] = []
        let fresh = try directory.openEntry(".", O_RDONLY | O_DIRECTORY)
        try fresh.forEachEntry { entry in
            names.append(entry.name)
            return true
        }
        var lines: [String] = []
        for name in names.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            let text = name.map { CChar(bitPattern: $0) } + [0]
            let status = try directory.status(of: text)
            let shown = prefix + (String(validating: name, as: UTF8.self) ?? Hex.encode(name))
            let owners = "\(status.user &- uidBase):\(status.group &- uidBase)"
            var line = "\(shown) \(status.kind) \(String(status.mode, radix: 8)) \(owners) \(status.modified)"
            switch status.kind {
            case .regular:
                line += " \(status.links) \(try digest(try directory.openEntry(text, O_RDONLY)))"
                // Names of one file are known by the first of them.
                line += " \(inodes[status.inode, default: shown])"
                line += try attributes(try directory.openEntry(text, O_RDONLY))
                inodes[status.inode] = inodes[status.inode] ?? shown
            case .symlink: line += " -> \(Hex.encode(try directory.linkTarget(of: text)))"
            case .directory: line += try attributes(try directory.openEntry(text, O_RDONLY | O_DIRECTORY))
            case .other: break
            }
            lines.append(line)
            if status.kind == .directory {
                let child = try directory.openEntry(text, O_RDONLY | O_DIRECTORY)
                lines += try below(child, shown + "/", uidBase, &inodes)
            }
        }
        return lines
    }

    private static func attributes(_ file: borrowing FileDescriptor) throws -> String {
        var buffer = [CChar](repeating: 0, count: 65_536)
        return try file.userAttributes(in: &buffer).map { " \(Hex.encode($0.name))=\(Hex.encode($0.value))" }.sorted()
            .joined()
    }

    private static func digest(_ file: borrowing FileDescriptor) throws -> String {
        var hash = SHA256()
        var position: Int64 = 0
        while true {
            let bytes = try file.readChunk(1 << 20, at: position)
            if bytes.isEmpty { break }
            hash.update(data: bytes)
            position += Int64(bytes.count)
        }
        return "\(position) " + Hex.encode(hash.finalize())
    }
}
