/// A typed, prefixed, time-sortable identifier: `prj_01jd4x…`, a UUIDv7 in TypeID's string form.
///
/// The kind is part of the type, so a `ProjectID` can never be handed where an `ExecID` is wanted, and part of the
/// text, so that a person can tell them apart in a log. Source of the text form: the TypeID specification, version 0.3.
public struct ID<Kind: IDKind>: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// The full text: prefix, underscore, 26 characters of Crockford's base 32 in lower case.
    public let description: String

    private init(unchecked text: String) { description = text }

    /// A new identifier for now. Later ones sort after earlier ones, to the millisecond.
    public init() {
        var generator = SystemRandomNumberGenerator()
        self.init(milliseconds: WallClock.nowMilliseconds(), using: &generator)
    }

    /// An identifier for a given moment; tests pass a seeded generator.
    public init(milliseconds: UInt64, using generator: inout some RandomNumberGenerator) {
        let random = generator.next()
        let high = (milliseconds << 16) | 0x7000 | (random & 0x0fff)
        let low = (generator.next() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000
        self.init(unchecked: "\(Kind.prefix)_\(TypeIDText.encode(high: high, low: low))")
    }

    /// Reads an identifier; `nil` when the prefix, the length or a character is wrong.
    public init?(_ text: String) {
        let prefix = Kind.prefix + "_"
        guard text.hasPrefix(prefix), TypeIDText.isValid(text.utf8.dropFirst(prefix.utf8.count)) else { return nil }
        self.init(unchecked: text)
    }

    public static func < (left: Self, right: Self) -> Bool { left.description < right.description }
}

extension ID: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let id = ID(text) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "‘\(text)’ is not an id that begins with ‘\(Kind.prefix)_’")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// What an identifier names; the one registry of prefixes. Append only.
public protocol IDKind: Sendable { static var prefix: String { get } }

public enum WorkspaceKind: IDKind { public static let prefix = "wsp" }
public enum ProjectKind: IDKind { public static let prefix = "prj" }
public enum ContainerKind: IDKind { public static let prefix = "ctr" }
public enum ExecKind: IDKind { public static let prefix = "exe" }
public enum NodeKind: IDKind { public static let prefix = "nod" }
public enum TokenKind: IDKind { public static let prefix = "tok" }
public enum RequestKind: IDKind { public static let prefix = "req" }
public enum JoinTokenKind: IDKind { public static let prefix = "jtk" }
public enum WebhookKind: IDKind { public static let prefix = "whk" }
public enum SnapshotKind: IDKind { public static let prefix = "snp" }
public enum CheckpointKind: IDKind { public static let prefix = "ckp" }
public enum KillSwitchKind: IDKind { public static let prefix = "ksw" }

public typealias WorkspaceID = ID<WorkspaceKind>
public typealias ProjectID = ID<ProjectKind>
/// One incarnation of a project's container: a replaced container has another id, so old handles answer `gone`.
public typealias ContainerID = ID<ContainerKind>
public typealias ExecID = ID<ExecKind>
public typealias NodeID = ID<NodeKind>
public typealias TokenID = ID<TokenKind>
public typealias RequestID = ID<RequestKind>
public typealias JoinTokenID = ID<JoinTokenKind>
public typealias WebhookID = ID<WebhookKind>
/// An archive of a project's workspace in the controller's store.
public typealias SnapshotID = ID<SnapshotKind>
/// A copy of a project's workspace on its own node.
public typealias CheckpointID = ID<CheckpointKind>
public typealias KillSwitchID = ID<KillSwitchKind>

/// 128 bits as 26 characters of Crockford's base 32, most significant first, as TypeID defines it.
enum TypeIDText {
    static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
    static let length = 26

    static func encode(high: UInt64, low: UInt64) -> String {
        var high = high
        var low = low
        var text = [UInt8](repeating: 0, count: length)
        for index in stride(from: length - 1, through: 0, by: -1) {
            text[index] = alphabet[Int(low & 31)]
            low = (low >> 5) | (high << 59)
            high >>= 5
        }
        return String(decoding: text, as: UTF8.self)
    }

    static func isValid(_ text: Substring.UTF8View) -> Bool {
        // The first character carries only three bits: above ‘7’ the value would not fit into 128 bits.
        text.count == length && (text.first ?? 0xff) <= UInt8(ascii: "7") && text.allSatisfy { alphabet.contains($0) }
    }
}
