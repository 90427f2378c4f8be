import FastableCore

/// One project's share of the instance's block: a range of user ids, two addresses and the name of an interface.
public struct Slot: Sendable, Hashable {
    public let block: InstanceBlock
    /// 0 ..< `Limits.projectsPerNode`, kept in the project's record.
    public let index: Int

    /// Ids in one slot: what a container can have inside.
    public static let idCount: UInt32 = Limits.containerUsers

    /// The host's user and group id of the container's root; id `n` inside is `uidBase + n` outside.
    public var uidBase: UInt32 { block.uidBase + UInt32(index) * Self.idCount }

    package var network: IPv4Network { block.network.subnet(index, prefix: 30) }
    package var hostAddress: IPv4Address { network.address.advanced(by: 1) }
    package var containerAddress: IPv4Address { network.address.advanced(by: 2) }
    /// The host's end of the container's link.
    package var interface: String { block.interfacePrefix + String(index, radix: 16) }
}
