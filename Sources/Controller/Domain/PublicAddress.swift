/// Which addresses lie on the public internet. What users name must not make the controller talk to its own host or network.
///
/// The ranges are those of the IANA special-purpose registries (RFC 6890 and its updates).
public enum PublicAddress {
    /// Four bytes of IPv4, or sixteen of IPv6; anything else is not public.
    public static func isPublic(_ bytes: [UInt8]) -> Bool {
        switch bytes.count {
        case 4: isPublicIPv4(bytes)
        case 16: isPublicIPv6(bytes)
        default: false
        }
    }

    private static let reservedIPv4: [(network: [UInt8], bits: Int)] = [
        ([0, 0, 0, 0], 8), ([10, 0, 0, 0], 8), ([100, 64, 0, 0], 10), ([127, 0, 0, 0], 8), ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12), ([192, 0, 0, 0], 24), ([192, 0, 2, 0], 24), ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15), ([198, 51, 100, 0], 24), ([203, 0, 113, 0], 24), ([224, 0, 0, 0], 3),
    ]

    private static func isPublicIPv4(_ bytes: [UInt8]) -> Bool {
        !reservedIPv4.contains { matches(bytes, $0.network, bits: $0.bits) }
    }

    private static func isPublicIPv6(_ bytes: [UInt8]) -> Bool {
        // Addresses that stand for one of IPv4: what counts is that one.
        let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]
        let translated: [UInt8] = [0x00, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]
        for prefix in [mapped, translated] where matches(bytes, prefix, bits: 96) {
            return isPublicIPv4(Array(bytes[12...]))
        }
        if matches(bytes, [0x20, 0x02], bits: 16) { return isPublicIPv4(Array(bytes[2..<6])) }
        // Of 2000::/3, which is all that is public, without the ranges for protocols (Teredo among them), benchmarks and documentation.
        return matches(bytes, [0x20], bits: 3) && !matches(bytes, [0x20, 0x01, 0x00], bits: 23)
            && !matches(bytes, [0x20, 0x01, 0x0d, 0xb8], bits: 32) && !matches(bytes, [0x3f, 0xff, 0x00], bits: 20)
    }

    private static func matches(_ bytes: [UInt8], _ network: [UInt8], bits: Int) -> Bool {
        let whole = bits / 8
        guard bytes.prefix(whole).elementsEqual(network.prefix(whole)) else { return false }
        let rest = bits % 8
        guard rest > 0 else { return true }
        let mask = UInt8(truncatingIfNeeded: 0xff00 >> rest)
        return bytes[whole] & mask == network[whole] & mask
    }
}
