import Glibc
import Synchronization

/// What the kernel tells in its log of processes that it ended because there was no memory. The control groups count these, but only the
/// log has names.
public final class KernelLog: Sendable {
    /// A process that was ended.
    public struct Victim: Sendable, Equatable {
        /// The host's id of its user.
        public var user: UInt32
        /// The name that the process gave itself: text of a stranger, of printable characters, and short.
        public var name: String
        /// Its control group had come to its limit; otherwise the host had no memory left.
        public var isOfGroup: Bool

        public init(user: UInt32, name: String, isOfGroup: Bool) {
            self.user = user
            self.name = name
            self.isOfGroup = isOfGroup
        }
    }

    private static let victimsKept = 256
    /// The kernel gives one record for each read, of at most this size.
    private static let recordBytes = 8192
    private static let recordsAtOnce = 16_384

    private let file: CInt
    private let recent = Mutex<[Victim]>([])

    /// Reads what the kernel still has, and what comes; nothing where the daemon may not read it.
    public init(path: String = "/dev/kmsg") {
        file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    }

    deinit { if file >= 0 { close(file) } }

    public var isReadable: Bool { file >= 0 }

    /// Takes in what is new. Does not block; the kernel keeps the rest for the next call when there is very much.
    public func read() {
        guard file >= 0 else { return }
        recent.withLock { recent in
            withUnsafeTemporaryAllocation(byteCount: Self.recordBytes, alignment: 1) { buffer in
                for _ in 0..<Self.recordsAtOnce {
                    let count = Glibc.read(file, buffer.baseAddress, buffer.count)
                    if count < 0, errno == EPIPE || errno == EINTR { continue }
                    guard count > 0 else { return }
                    if let victim = Self.victim(UnsafeRawBufferPointer(rebasing: buffer[..<count])) {
                        recent.append(victim)
                    }
                }
            }
            recent.removeFirst(max(0, recent.count - Self.victimsKept))
        }
    }

    /// The victims whose users are in a range, oldest first. They are told once.
    public func take(_ users: Range<UInt32>) -> [Victim] {
        recent.withLock { recent in
            let found = recent.filter { users.contains($0.user) }
            recent.removeAll { users.contains($0.user) }
            return found
        }
    }

    // MARK: reading a record

    /// `3,10702,34588522708,-;Memory cgroup out of memory: Killed process 22900 (tail) total-vm:35476kB, …, UID:0 pgtables:108kB …`, or
    /// `Out of memory: Killed process …`. `nil` for every other record. The name in brackets may be anything of up to 15 bytes, of which
    /// the kernel writes those that cannot be printed as `\x1b`.
    public static func victim(_ record: UnsafeRawBufferPointer) -> Victim? {
        // Almost all records are others, and a container can cause many.
        guard let bytes = message(record), bytes.count < 1024 else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        let ofGroup = text.hasPrefix("Memory cgroup out of memory: Killed process ")
        guard ofGroup || text.hasPrefix("Out of memory: Killed process "),
            let process = text.firstRange(of: "Killed process ")?.upperBound
        else { return nil }
        let rest = text[process...]
        let number = rest.prefix { $0.isASCII && $0.isNumber }
        // The last one: what stands before it may be part of a name.
        guard !number.isEmpty, rest[number.endIndex...].hasPrefix(" ("),
            let end = rest.ranges(of: ") total-vm:").last, let user = rest[end.upperBound...].firstRange(of: ", UID:")
        else { return nil }
        let name = rest[rest.index(number.endIndex, offsetBy: 2)...]
        guard name.startIndex <= end.lowerBound,
            let id = UInt32(rest[user.upperBound...].prefix { $0.isASCII && $0.isNumber })
        else { return nil }
        return Victim(user: id, name: printable(name[..<end.lowerBound]), isOfGroup: ofGroup)
    }

    /// The first line of a record that the kernel itself has written: programs can write to the log too, under other facilities.
    private static func message(_ record: UnsafeRawBufferPointer) -> Slice<UnsafeRawBufferPointer>? {
        guard let start = record.firstIndex(of: UInt8(ascii: ";")), start < 64,
            let comma = record.firstIndex(of: UInt8(ascii: ",")),
            let priority = UInt32(String(decoding: record[..<comma], as: UTF8.self)), priority < 8
        else { return nil }
        let rest = record[(start + 1)...]
        guard rest.first == UInt8(ascii: "M") || rest.first == UInt8(ascii: "O") else { return nil }
        return rest.prefix { $0 != UInt8(ascii: "\n") }
    }

    /// At most 15 bytes, each of which the kernel may write as four.
    private static func printable(_ name: Substring) -> String {
        String(String.UnicodeScalarView(name.unicodeScalars.filter { (0x20...0x7e).contains($0.value) }.prefix(60)))
    }
}
