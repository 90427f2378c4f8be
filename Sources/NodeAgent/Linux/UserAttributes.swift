import CLinux
import Glibc

/// An extended attribute of a file, with its whole name: `user.…`.
public struct UserAttribute: Sendable, Equatable {
    public var name: [UInt8]
    public var value: [UInt8]

    public init(name: [UInt8], value: [UInt8]) {
        self.name = name
        self.value = value
    }
}

extension FileDescriptor {
    /// Those that programs set for themselves; none where the file system has none.
    ///
    /// - Parameter buffer: room for all of them, used again and again. `E2BIG` when it is too small.
    public borrowing func userAttributes(in buffer: inout [CChar]) throws(Errno) -> [UserAttribute] {
        let count = Int(try Errno.checkNegative(fst_read_user_attributes(number, &buffer, buffer.count)))
        guard count > 0 else { return [] }
        var rest = buffer[..<count].map { UInt8(bitPattern: $0) }[...]
        var attributes: [UserAttribute] = []
        while let end = rest.firstIndex(of: 0), rest.endIndex - end > 4 {
            let size = (1...4).reduce(0) { $0 | Int(rest[end + $1]) << (8 * ($1 - 1)) }
            let value = rest[(end + 5)...].prefix(size)
            attributes.append(UserAttribute(name: Array(rest[..<end]), value: Array(value)))
            rest = rest[value.endIndex...]
        }
        return attributes
    }

    /// `EINVAL` for another name than `user.…`.
    public borrowing func set(_ attribute: UserAttribute) throws(Errno) {
        let name = attribute.name.map { CChar(bitPattern: $0) } + [0]
        try Errno.checkNegative(fst_set_user_attribute(number, name, attribute.value, attribute.value.count))
    }
}
