/// Whom a command is to run as, in the words of whoever asks: `node`, `1000` or `1000:1000`.
public enum ExecUserName: Sendable, Equatable {
    case name(String)
    /// Without a group, the container's accounts tell it.
    case ids(user: UInt32, group: UInt32?)

    /// What consists of digits is always an id: a container could give its root the name of a number.
    ///
    /// - Throws: `unprocessable` for what is none of the three, or an id that no container has.
    public init(_ text: String) throws(FastableError) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        switch parts.count {
        case 1 where !text.isEmpty && text.utf8.allSatisfy(Self.isDigit):
            self = .ids(user: try Self.id(parts[0]), group: nil)
        case 1 where Self.isName(text):
            self = .name(text)
        case 2:
            self = .ids(user: try Self.id(parts[0]), group: try Self.id(parts[1]))
        default: throw Self.malformed
        }
    }

    /// A decimal number without sign that a container has an id for.
    public static func containerID(_ text: some StringProtocol) -> UInt32? {
        guard 1...10 ~= text.utf8.count, text.utf8.allSatisfy(isDigit), let id = UInt32(text),
            id < Limits.containerUsers
        else { return nil }
        return id
    }

    private static func id(_ text: Substring) throws(FastableError) -> UInt32 {
        guard let id = containerID(text) else { throw malformed }
        return id
    }

    private static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

    private static func isName(_ text: String) -> Bool {
        let first = text.utf8.first ?? 0
        return 1...Limits.userNameBytes ~= text.utf8.count
            && text.utf8.allSatisfy { 0x21...0x7e ~= $0 && $0 != UInt8(ascii: "/") }
            && first != UInt8(ascii: "-") && first != UInt8(ascii: "+")
    }

    private static let malformed = FastableError(
        .unprocessable,
        "The field ‘user’ must be the name of a user of the container, a uid, or uid:gid, with ids below "
            + "\(Limits.containerUsers).", details: ["field": "user"])
}
