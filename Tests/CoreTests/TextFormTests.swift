import FastableCore
import TestSupport
import Testing

@Suite struct HexTests {
    @Test func roundTrip() {
        let all = (0...255).map { UInt8($0) }
        #expect(Hex.decode(Hex.encode(all)) == all)
        #expect(Hex.encode([0x00, 0x0f, 0xa0, 0xff]) == "000fa0ff")
        #expect(Hex.encode([UInt8]()) == "" && Hex.decode("") == [])
    }

    @Test(arguments: ["0", "abc", "AB", "0x", "g0", " 00", "é"])
    func refuses(text: String) { #expect(Hex.decode(text) == nil) }
}

@Suite struct Base64URLTests {
    /// The vectors of RFC 4648, without padding, and the two characters that differ from plain base64.
    @Test(arguments: [
        ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"),
        ("foobar", "Zm9vYmFy"), ("\u{3ff}~~", "z79-fg"),
    ])
    func vectors(plain: String, text: String) {
        #expect(Base64URL.encode(plain.utf8) == text)
        #expect(Base64URL.decode(text) == Array(plain.utf8))
    }

    @Test func roundTrip() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for length in 0..<200 {
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes, "seed \(seed)")
        }
        #expect(Base64URL.encode([0xfb, 0xff]) == "-_8")
    }

    @Test(arguments: ["Z", "Zg==", "Zm9v\n", "Zm+v", "Zm/v", "Zh", "Zm9", "ZmÄ", "Zm9vY"])
    func refuses(text: String) { #expect(Base64URL.decode(text) == nil) }
}

@Suite struct HostPortTests {
    @Test(arguments: [
        ("127.0.0.1:7420", "127.0.0.1", 7420), ("localhost:0", "localhost", 0), ("[::1]:65535", "::1", 65_535),
        ("a.b-c_d.example:1", "a.b-c_d.example", 1), ("[2001:db8::ff00:42:8329]:7421", "2001:db8::ff00:42:8329", 7421),
    ])
    func reads(text: String, host: String, port: Int) throws {
        let address = try #require(HostPort(text))
        #expect(address.host == host && address.port == port)
        #expect(address.description == text)
        #expect(HostPort(host: host, port: port) == address)
    }

    @Test(arguments: [
        "", ":", "host", "host:", ":80", "host:65536", "host:-1", "host:+1", "host:1a", "host:000080", "::1:80",
        "[::1]", "[::1:80", "::1]:80", "[host]:80", "[127.0.0.1]:80", "ho st:80", "host/:80", "hö:80", "[::1%lo]:80",
        "host:80:80", "\u{0}:80", String(repeating: "a", count: 254) + ":80",
    ])
    func refuses(text: String) { #expect(HostPort(text) == nil) }

    @Test func knowsLoopback() {
        for text in ["127.0.0.1:1", "127.255.0.3:1", "localhost:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1"] {
            #expect(HostPort(text)?.isLoopback == true, "\(text)")
        }
        for text in ["0.0.0.0:1", "[::]:1", "127.evil.com:1", "localhost.evil.com:1", "10.0.0.1:1", "128.0.0.1:1"] {
            #expect(HostPort(text)?.isLoopback == false, "\(text)")
        }
        #expect(HostPort.loopback(port: 7420).description == "127.0.0.1:7420")
    }
}
