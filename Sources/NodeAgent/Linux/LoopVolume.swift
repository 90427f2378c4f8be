import CLinux
import Glibc

/// A file system in a file, mounted through a loop device. All of it blocks.
public enum LoopVolume {
    /// Whether this host has loop devices at all.
    public static var isAvailable: Bool { access("/dev/loop-control", R_OK | W_OK) == 0 }

    /// Mounts an image; the loop device goes with the mount, also when this process dies.
    public static func mount(_ image: String, at target: String) throws(Errno) {
        let file = try FileDescriptor(opening: image, O_RDWR | O_NOFOLLOW)
        try Errno.checkNegative(fst_loop_mount(file.number, target))
    }

    /// Whether something is mounted at a directory: it is on another device than the directory above.
    public static func isMounted(at target: String) -> Bool {
        guard let own = device(target), let above = device(target + "/..") else { return false }
        return own != above
    }

    /// Lets what is mounted at a directory become as large as its image is now.
    public static func grow(at target: String, to bytes: Int) throws(Errno) {
        try Errno.checkNegative(fst_loop_grow(target, UInt64(bytes)))
    }

    /// A loop device in use, and the file behind it, which may have been removed.
    public struct Device: Sendable, Hashable {
        public var number: UInt32
        public var file: String
        /// Whether it is mounted in the host's own mount table.
        public var isMounted: Bool
    }

    /// The devices whose files lie below a directory, also those that were removed from it.
    public static func devices(below directory: String) throws(Errno) -> [Device] {
        guard let stream = opendir("/sys/block") else { throw Errno.last }
        defer { closedir(stream) }
        let mounted = try Mounts.devices()
        var found: [Device] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix("loop"), let number = UInt32(name.dropFirst(4)),
                let text = content("/sys/block/\(name)/loop/backing_file"), text.hasPrefix(directory + "/")
            else { continue }
            found.append(Device(number: number, file: text, isMounted: mounted.contains("\(major):\(number)")))
        }
        return found.sorted { $0.number < $1.number }
    }

    /// Frees a device: at once, or when nobody has it open or mounted any more.
    public static func free(_ device: Device) throws(Errno) {
        let result = fst_loop_free(device.number)
        // Somebody was faster, or it has freed itself.
        if result == -ENXIO || result == -ENOENT { return }
        try Errno.checkNegative(result)
    }

    private static let major = 7

    /// One line of the kernel's; `nil` when there is none any more.
    private static func content(_ path: String) -> String? {
        guard let file = try? FileDescriptor(opening: path, O_RDONLY), let bytes = try? file.readAll(limit: 65_536)
        else { return nil }
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }

    private static func device(_ path: String) -> UInt64? {
        var status = stat()
        return lstat(path, &status) == 0 ? UInt64(status.st_dev) : nil
    }
}
