import FastableCore

/// The share of the machine's addresses and user ids that one instance leases, so that several run side by side.
public struct InstanceBlock: Sendable, Hashable, Codable {
    /// 0 ..< `InstanceBlock.count`; no two instances of a machine have the same.
    public let index: Int
    /// Addresses of all containers of the instance, a /20.
    public let network: IPv4Network

    /// Blocks of a machine.
    public static let count = 32
    static let networkPrefix = 20
    private static let firstUID: UInt32 = 1_000_000_000
    private static let idsPerBlock: UInt32 = 67_108_864

    package init(index: Int, network: IPv4Network) {
        self.index = index
        self.network = network
    }

    /// First user and group id of the instance's containers.
    public var uidBase: UInt32 { Self.firstUID + UInt32(index) * Self.idsPerBlock }

    /// How the names of all the instance's network interfaces begin, and no other instance's.
    package var interfacePrefix: String { "fb" + (index < 16 ? "0" : "") + String(index, radix: 16) + "-" }

    /// A project's share; `limit` when there are too many projects.
    public func slot(_ index: Int) throws -> Slot {
        guard (0..<Limits.projectsPerNode).contains(index) else {
            throw FastableError(
                .limit, "The node holds at most \(Limits.projectsPerNode) projects. Delete one, or add a node.",
                details: ["limit": .integer(Int64(Limits.projectsPerNode))])
        }
        return Slot(block: self, index: index)
    }

    /// The project whose ids include this one; `nil` when they are another instance's.
    func slotIndex(ofUser uid: UInt32) -> Int? {
        guard uid >= uidBase, uid < uidBase + UInt32(Limits.projectsPerNode) * Slot.idCount else { return nil }
        return Int((uid - uidBase) / Slot.idCount)
    }

    /// The blocks that a pool of addresses gives, in order. `invalid` when the pool is not a range of at least one block.
    package static func all(in pool: IPv4Network) throws -> [InstanceBlock] {
        let fitting = min(pool.count(ofPrefix: networkPrefix), count)
        guard fitting > 0 else {
            throw FastableError(
                .invalid, "The address pool \(pool) is too small: a node needs a /\(networkPrefix) or larger.",
                details: ["field": .string("addressPool")])
        }
        return (0..<fitting).map { InstanceBlock(index: $0, network: pool.subnet($0, prefix: networkPrefix)) }
    }
}

extension IPv4Network: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let network = IPv4Network(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "not an IPv4 range like 10.224.0.0/20")
        }
        self = network
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
