import ControllerDomain
import Foundation
import Testing

@Suite struct PublicAddressTests {
    static let notPublic = [
        // This host, its networks, and what providers keep there.
        "0.0.0.0", "0.255.255.255", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
        "127.255.255.254", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.0.1",
        "192.168.255.255",
        // Protocols, documentation, benchmarks, multicast, reserved, broadcast.
        "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.7",
        "203.0.113.9", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
        "::", "::1", "fe80::1", "febf::1", "fc00::1", "fdff::1", "fec0::1", "ff02::1", "ff0e::1", "100::1", "2001::1",
        "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "3fff::1", "3fff:fff::1",
        "5f00::1", "4000::1", "64:ff9b:1::1",
        // IPv4 in another dress: mapped, compatible, NAT64, 6to4.
        "::ffff:127.0.0.1", "::ffff:10.1.2.3", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::127.0.0.1",
        "::8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::192.168.1.1", "2002:7f00:1::1",
        "2002:a00:1::1", "2002:c0a8:101::1",
    ]

    static let isPublic = [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.1", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0",
        "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "198.51.99.255", "203.0.112.255",
        "203.0.114.0", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1",
        "2001:db7:ffff::1", "2001:db9::1", "3ffe:ffff::1", "3fff:1000::1", "2620:fe::fe", "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8", "2002:808:808::1",
    ]

    @Test(arguments: notPublic) func doesNotCount(address: String) throws {
        #expect(try !PublicAddress.isPublic(Self.bytes(address)))
    }

    @Test(arguments: isPublic) func counts(address: String) throws {
        #expect(try PublicAddress.isPublic(Self.bytes(address)))
    }

    @Test func whatIsNoAddressIsNotPublic() {
        for count in [0, 1, 3, 5, 8, 15, 17] {
            #expect(!PublicAddress.isPublic([UInt8](repeating: 8, count: count)), "\(count) bytes")
        }
    }

    private static func bytes(_ text: String) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: text.contains(":") ? 16 : 4)
        try #require(inet_pton(text.contains(":") ? AF_INET6 : AF_INET, text, &bytes) == 1, "\(text)")
        return bytes
    }
}
