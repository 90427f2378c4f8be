#if canImport(Glibc)
    import Glibc
#endif

/// Where something listens: `127.0.0.1:7420`, `node.example:7421`, `[::1]:7420`. Port 0 means any free port.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
    /// A host name or an IP address; an IPv6 address stands here without brackets.
    public let host: String
    public let port: Int

    /// `nil` when the host has foreign characters or the port is not in 0 to 65535.
    public init?(host: String, port: Int) {
        let isName = !host.isEmpty && host.utf8.count <= 253 && host.utf8.allSatisfy(Self.isNameCharacter)
        guard isName || Self.addressBytes(host)?.count == 16, 0...65535 ~= port else { return nil }
        self.host = host
        self.port = port
    }

    /// `127.0.0.1` with this port.
    public static func loopback(port: UInt16) -> HostPort { HostPort(unchecked: "127.0.0.1", Int(port)) }

    private init(unchecked host: String, _ port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads `host:port` or `[address]:port`; `nil` for anything else.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.utf8.count <= 5, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits)
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard Self.addressBytes(String(host))?.count == 16 else { return nil }
        } else if host.contains(":") {
            return nil
        }
        self.init(host: String(host), port: port)
    }

    /// 127.0.0.1 with a port in 0 to 65535; anything else takes 0, any free port.
    public static func loopback(port: Int) -> HostPort {
        HostPort(uncheckedHost: "127.0.0.1", port: 0...65535 ~= port ? port : 0)
    }

    private init(uncheckedHost host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether only programs on the same host can reach it. Names other than `localhost` do not count.
    public var isLoopback: Bool {
        guard let bytes = Self.addressBytes(host) else { return host == "localhost" }
        return bytes.count == 4 ? bytes[0] == 127 : bytes == [UInt8](repeating: 0, count: 15) + [1]
    }

    /// The 4 or 16 bytes of an IP address; `nil` for a name.
    public static func addressBytes(_ text: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &bytes) == 1 { return Array(bytes.prefix(4)) }
        return inet_pton(AF_INET6, text, &bytes) == 1 ? bytes : nil
    }

    private static func isNameCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
