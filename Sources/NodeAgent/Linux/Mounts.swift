import CLinux
import Glibc

/// Mounts in the host's own mount table.
public enum Mounts {
    /// Shows `source` read-only at `target`, with ids shifted by the map of a user namespace.
    ///
    /// Throws `EINVAL` when the kernel or the file system cannot do it.
    public static func idMapped(_ source: String, at target: String, userNamespace: CInt) throws(Errno) {
        try Errno.checkNegative(fst_mount_idmapped(source, target, userNamespace))
    }

    /// Lays the writable directory `upper` over `lower`. `work` is the kernel's, empty, on the same file system as `upper`.
    public static func overlay(at target: String, lower: String, upper: String, work: String) throws(Errno) {
        try Errno.checkNegative(fst_mount_overlay(target, lower, upper, work))
    }

    public static func cgroup2(at target: String) throws(Errno) { try Errno.checkNegative(fst_mount_cgroup2(target)) }

    /// Detaches what is mounted at `target`; a target that is no mount point or does not exist is fine.
    public static func remove(_ target: String) throws(Errno) {
        let result = fst_unmount(target)
        if result == -EINVAL || result == -ENOENT { return }
        try Errno.checkNegative(result)
    }

    public static func isCgroup2(_ path: String) -> Bool { fst_is_cgroup2(path) == 1 }

    /// Mount points at and below a directory, those mounted last first: the order to remove them in.
    public static func below(_ directory: String) throws(Errno) -> [String] {
        try table().compactMap { fields -> String? in
            guard fields.count > 4 else { return nil }
            let point = unescape(fields[4])
            return point == directory || point.hasPrefix(directory + "/") ? point : nil
        }.reversed()
    }

    /// The devices of everything that is mounted, as `7:3`.
    static func devices() throws(Errno) -> Set<String> {
        Set(try table().compactMap { $0.count > 2 ? String($0[2]) : nil })
    }

    /// The fields of each line.
    private static func table() throws(Errno) -> [[Substring]] {
        let file = try FileDescriptor(opening: "/proc/self/mountinfo", O_RDONLY)
        let table = String(decoding: try file.readAll(limit: 64 * 1024 * 1024), as: UTF8.self)
        return table.split(separator: "\n").map { $0.split(separator: " ") }
    }

    /// The kernel writes blanks and backslashes as three octal digits.
    private static func unescape(_ field: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(field.utf8)[...]
        while let byte = rest.popFirst() {
            let octal = rest.prefix(3)
            guard byte == UInt8(ascii: "\\"), octal.count == 3,
                let value = UInt8(String(decoding: octal, as: UTF8.self), radix: 8)
            else {
                bytes.append(byte)
                continue
            }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
