/// A range of IPv4 addresses: `10.224.0.0/15`.
public struct IPv4Network: Sendable, Hashable, CustomStringConvertible {
    public let address: IPv4Address
    /// Leading bits that all addresses of the range share, 0 to 32.
    public let prefix: Int

    /// Reads the text form; a plain address is a range of one. `nil` when it has another form or bits after the prefix.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count <= 2, let first = parts.first, let address = IPv4Address(String(first)) else { return nil }
        let prefix = parts.count == 2 ? Int(parts[1]) : 32
        guard let prefix, (0...32).contains(prefix), address.bits & ~Self.mask(prefix) == 0 else { return nil }
        self.init(address: address, prefix: prefix)
    }

    package init(address: IPv4Address, prefix: Int) {
        self.address = address
        self.prefix = prefix
    }

    private static func mask(_ prefix: Int) -> UInt32 { prefix == 0 ? 0 : ~0 << UInt32(32 - prefix) }

    public func overlaps(_ other: IPv4Network) -> Bool {
        let mask = Self.mask(min(prefix, other.prefix))
        return address.bits & mask == other.address.bits & mask
    }

    public func contains(_ other: IPv4Address) -> Bool { overlaps(IPv4Network(address: other, prefix: 32)) }

    /// How many ranges of a longer prefix fit in.
    package func count(ofPrefix longer: Int) -> Int { longer < prefix ? 0 : 1 << (longer - prefix) }

    /// The range of a longer prefix at an index.
    package func subnet(_ index: Int, prefix longer: Int) -> IPv4Network {
        IPv4Network(address: address.advanced(by: index << (32 - longer)), prefix: longer)
    }

    public var description: String { "\(address)/\(prefix)" }
}

public struct IPv4Address: Sendable, Hashable, CustomStringConvertible {
    let bits: UInt32

    init(bits: UInt32) { self.bits = bits }

    /// Reads four decimal numbers; leading zeros, which some programs take for octal, are refused.
    public init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let byte = UInt8(part), String(byte) == part else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
        self.bits = bits
    }

    func advanced(by distance: Int) -> IPv4Address { IPv4Address(bits: bits &+ UInt32(truncatingIfNeeded: distance)) }

    package var isLoopback: Bool { bits >> 24 == 127 }

    public var description: String {
        "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
    }
}
