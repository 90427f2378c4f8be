import FastableCore
import FastableIdentity
import TestSupport
import Testing

@Suite struct JoinTokenTests {
    let fingerprint = String(repeating: "0a", count: 32)

    func token(
        url: String = "http://127.0.0.1:7420", listener: String = "127.0.0.1:7421", fingerprint: String? = nil
    ) throws -> JoinToken {
        try JoinToken(
            controllerURL: url, nodeListener: try #require(HostPort(listener)),
            authorityFingerprint: fingerprint ?? self.fingerprint, tokenID: JoinTokenID())
    }

    @Test(arguments: [
        ("http://127.0.0.1:7420", "127.0.0.1:7421"),
        ("https://fastable.example", "fastable.example:7421"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:7421"),
    ])
    func roundTrip(url: String, listener: String) throws {
        let made = try token(url: url, listener: listener)
        let text = made.text.reveal()
        #expect(text.hasPrefix("fjt_"))
        #expect(text.utf8.count <= Limits.joinTokenBytes)
        let read = try JoinToken(text)
        #expect(read.controllerURL == url)
        #expect(read.nodeListener.description == listener)
        #expect(read.authorityFingerprint == fingerprint)
        #expect(read.tokenID == made.tokenID)
        #expect(read.text.reveal() == text)
        #expect(read.enrollmentKey.text.reveal() == made.enrollmentKey.text.reveal())
    }

    @Test func printsRedacted() throws {
        let made = try token()
        let text = made.text.reveal()
        let key = made.enrollmentKey.text.reveal()
        for printed in ["\(made)", "\(made.text)", "\(made.enrollmentKey)", String(reflecting: made.enrollmentKey)] {
            #expect(!printed.contains(text))
            #expect(!printed.contains(key))
        }
        #expect("\(made)" == "join token \(made.tokenID) ‹redacted›")
    }

    @Test func storedKeyIsNotTheToken() throws {
        let made = try token()
        let stored = made.enrollmentKey.text.reveal()
        #expect(stored.count == 64)
        let bytes = try #require(Base64URL.decode(made.text.reveal().dropFirst(4)))
        #expect(!Hex.encode(bytes).contains(stored))
        #expect(EnrollmentKey(Secret(stored))?.text.reveal() == stored)
        #expect(EnrollmentKey(Secret(String(stored.dropLast()))) == nil)
        #expect(EnrollmentKey(Secret(String(repeating: "z", count: 64))) == nil)
        #expect(try token().enrollmentKey.text.reveal() != stored)
    }

    @Test func anyChangedCharacterIsNoticed() throws {
        let text = try token().text.reveal()
        for index in text.indices.dropFirst(4) {
            var changed = text
            changed.replaceSubrange(index...index, with: text[index] == "A" ? "B" : "A")
            expectFailure(.invalid) { _ = try JoinToken(changed) }
        }
        for length in 0..<text.count {
            expectFailure(.invalid) { _ = try JoinToken(String(text.prefix(length))) }
        }
    }

    @Test(arguments: [
        "", "fjt_", "fst_AAAA", "fjt_====", "fjt_ü", "fjt_A", "fjt_\0", "FJT_AAAA",
        "fjt_" + String(repeating: "A", count: 10_000),
    ])
    func refusesHostileText(text: String) {
        expectFailure(.invalid) { _ = try JoinToken(text) }
    }

    @Test func refusesRandomBytesEvenWithAGoodChecksum() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            let count = Int.random(in: 0...300, using: &random)
            var bytes: [UInt8] = [1] + (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            // Plausible lengths in place of random ones, so that the later fields are reached too.
            if bytes.count > 70 { bytes.replaceSubrange(65...66, with: [0, UInt8.random(in: 0...40, using: &random)]) }
            let text = "fjt_" + Base64URL.encode(bytes + checksum(bytes))
            #expect(throws: FastableError.self, "seed \(seed)") { _ = try JoinToken(text) }
        }
    }

    @Test(arguments: [
        "ftp://host", "http://", "host:7420", "http://host/path", "http://user@host", "http://host?x=1",
        "http://host#f", "http://ho st", "http://host:0", "http://host:99999", "javascript:alert(1)", "",
    ])
    func refusesAddressesWithMoreThanAHost(url: String) {
        expectFailure(.invalid) { _ = try token(url: url) }
    }

    @Test func refusesOtherBadParts() {
        expectFailure(.invalid) { _ = try token(fingerprint: "abcd") }
        expectFailure(.invalid) { _ = try token(listener: "host:0") }
    }
}
