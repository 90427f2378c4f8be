import FastableCore
import FoundationEssentials
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct FastableErrorTests {
    @Test func theContextStaysHere() throws {
        let error = FastableError(
            .stale, "Read it again.", context: "/var/lib/secret", details: ["sha256": "ab"], retryAfterSeconds: 3)
        let data = try JSON.encode(error)
        #expect(!String(decoding: data, as: UTF8.self).contains("secret"))
        let received = try JSON.decode(FastableError.self, from: data)
        #expect(received.code == .stale && received.message == "Read it again.")
        #expect(received.details == ["sha256": "ab"] && received.retryAfterSeconds == 3)
        #expect(received.context == nil)
        #expect(error.description == "stale: Read it again. [/var/lib/secret]")
    }

    @Test func anUnknownCodeOfANewerPeerIsInternal() throws {
        let error = try JSON.decode(
            FastableError.self, from: Data(#"{"code":"too_sunny","message":"m"}"#.utf8))
        #expect(error.code == .internal && error.message == "m")
    }

    @Test func unexpectedErrorsTellTheLogAndNotThePerson() {
        struct Odd: Error {}
        let known = FastableError(.gone, "g")
        #expect(FastableError.unexpected(known, doing: "x") == known)
        #expect(FastableError.unexpected(CancellationError(), doing: "x").code == .cancelled)
        let odd = FastableError.unexpected(Odd(), doing: "counting")
        #expect(odd.code == .internal && odd.message.contains("counting") && odd.context == "Odd()")
    }

    @Test func systemErrorsHaveACode() {
        let cases: [(Int32, FastableError.Code)] = [
            (ENOENT, .notFound), (EACCES, .forbidden), (EEXIST, .conflict), (ENOSPC, .unavailable), (EIO, .internal),
        ]
        for (number, code) in cases {
            #expect(FastableError.system(number, cannot: "do it").code == code)
        }
        let full = FastableError.system(ENOSPC, cannot: "write ‘a’", context: "/x/a")
        #expect(full.message == "Cannot write ‘a’: No space left on device." && full.context == "/x/a")
    }
}

@Suite struct SecretTests {
    struct Holder {
        var name = "holder"
        var password = Secret("hunter2")
    }

    @Test func neverPrints() {
        let secret = Secret("hunter2")
        var dumped = ""
        dump(Holder(), to: &dumped)
        dump(secret, to: &dumped)
        let texts = [
            "\(secret)", String(describing: secret), String(reflecting: secret), "\([secret])", "\(["k": secret])",
            "\(Optional(secret) as Any)", "\(Holder())", String(reflecting: Holder()), dumped,
            "\(Mirror(reflecting: secret).children.map(\.value))",
        ]
        for text in texts { #expect(!text.contains("hunter2"), "\(text)") }
        #expect("\(secret)" == "‹redacted›")
        #expect(secret.reveal() == "hunter2")
    }

    @Test func cannotBeEncodedByAccident() {
        #expect(!((Secret("x") as Any) is any Encodable))
    }
}
