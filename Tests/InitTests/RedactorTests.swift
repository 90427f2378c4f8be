import FastableCore
import Foundation
import NIOCore
import NodeSandbox
import TestSupport
import Testing

/// Secrets in a stream, against a reference that sees all of it at once.
@Suite("Redaction") struct RedactorTests {
    /// Every byte that belongs to an occurrence of a pattern is masked.
    private static func reference(_ bytes: [UInt8], _ patterns: [[UInt8]]) -> [UInt8] {
        var masked = bytes
        for pattern in patterns where pattern.count <= bytes.count {
            for start in 0...bytes.count - pattern.count
            where bytes[start..<start + pattern.count].elementsEqual(pattern) {
                for index in start..<start + pattern.count { masked[index] = UInt8(ascii: "*") }
            }
        }
        return masked
    }

    private static func bytes(_ count: Int, of letters: Int, _ random: inout SeededGenerator) -> [UInt8] {
        (0..<count).map { _ in UInt8(ascii: "a") + UInt8(random.next() % UInt64(letters)) }
    }

    /// Few letters, so that occurrences overlap, contain each other and almost happen.
    private static func world(_ random: inout SeededGenerator) -> (stream: [UInt8], patterns: [[UInt8]]) {
        let letters = Int(random.next() % 3) + 1
        let patterns = (0..<Int(random.next() % 4) + 1).map { _ in
            bytes(Int(random.next() % 12) + 1, of: letters, &random)
        }
        var stream: [UInt8] = []
        while stream.count < 600 {
            switch random.next() % 3 {
            case 0: stream += bytes(Int(random.next() % 20), of: letters + 1, &random)
            case 1: stream += patterns[Int(random.next() % UInt64(patterns.count))]
            default: stream += patterns[Int(random.next() % UInt64(patterns.count))].dropLast(Int(random.next() % 4))
            }
        }
        return (stream, patterns)
    }

    @Test(arguments: 0..<200)
    func everyOccurrenceIsMaskedHoweverTheStreamIsCut(round: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let (stream, patterns) = Self.world(&random)
        var redactor = SecretRedactor(SecretPatterns(patterns))
        var given: [UInt8] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let chunk = rest.prefix(Int(random.next() % 9))
            rest = rest.dropFirst(chunk.count)
            given += Array(redactor.take(ByteBuffer(bytes: chunk)).readableBytesView)
            #expect(redactor.clean <= UInt64(given.count), "seed \(seed)")
            #expect(redactor.position == UInt64(stream.count - rest.count), "seed \(seed)")
            #expect(stream.count - rest.count - given.count < 12, "more is held than a pattern has, seed \(seed)")
        }
        given += Array(redactor.finish().readableBytesView)
        #expect(given == Self.reference(stream, patterns), "seed \(seed)")
    }

    /// A daemon that takes over begins at a clean place and masks the same.
    @Test(arguments: 0..<200)
    func aRestartAtACleanPlaceChangesNothing(round: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let (stream, patterns) = Self.world(&random)
        let expected = Self.reference(stream, patterns)
        let automaton = SecretPatterns(patterns)
        var redactor = SecretRedactor(automaton)
        var given: [UInt8] = []
        var position = 0
        while position < stream.count {
            if random.next() % 6 == 0 {
                // Not always the last clean place: what was acknowledged may be older, never other.
                position = Int(redactor.clean)
                given.removeLast(given.count - position)
                redactor = SecretRedactor(automaton, position: UInt64(position))
            }
            let count = min(Int(random.next() % 30), stream.count - position)
            given += Array(redactor.take(ByteBuffer(bytes: stream[position..<position + count])).readableBytesView)
            position += count
            #expect(given.elementsEqual(expected.prefix(given.count)), "seed \(seed)")
        }
        given += Array(redactor.finish().readableBytesView)
        #expect(given == expected, "seed \(seed)")
    }

    /// Where a place within an occurrence cannot be avoided, too much is masked and not too little.
    @Test(arguments: 0..<100)
    func aRestartWithinAnOccurrenceShowsNothingOfIt(round: Int) {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let (stream, patterns) = Self.world(&random)
        let expected = Self.reference(stream, patterns)
        let start = Int(random.next() % UInt64(stream.count))
        var redactor = SecretRedactor(SecretPatterns(patterns), position: UInt64(start), mayBeCut: true)
        var given = Array(redactor.take(ByteBuffer(bytes: stream[start...])).readableBytesView)
        given += Array(redactor.finish().readableBytesView)
        #expect(given.count == stream.count - start)
        for (index, byte) in given.enumerated() {
            #expect(byte == UInt8(ascii: "*") || byte == expected[start + index], "seed \(seed)")
        }
    }

    /// Another command with secrets starts in the middle of a stream, one that has none of its own or some.
    @Test(arguments: 0..<300)
    func patternsThatComeLaterAreFoundFromThenOn(round: Int) throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let (stream, patterns) = Self.world(&random)
        let old = Array(patterns.prefix(Int(random.next() % UInt64(patterns.count + 1))))
        let change = Int(random.next() % UInt64(stream.count))
        var log = ExecLog(redactor: old.isEmpty ? nil : SecretRedactor(SecretPatterns(old)))
        let all = SecretPatterns(patterns)
        var position = 0
        var hasChanged = false
        while position < stream.count {
            if !hasChanged, position >= change {
                log.mask(all)
                hasChanged = true
            }
            let end = min(hasChanged ? stream.count : change, position + Int(random.next() % 9) + 1)
            try log.receive(ByteBuffer(bytes: stream[position..<end]), at: UInt64(position))
            position = end
        }
        log.end()
        let given = log.admit(needed: nil).flatMap { Array($0.bytes.readableBytesView) }
        // An occurrence that was under way when the pattern came may be found or not; no other byte may differ.
        let before = Self.reference(stream, old)
        let later = Array(repeating: 0, count: change) + Self.reference(Array(stream[change...]), patterns)
        let most = Self.reference(stream, patterns)
        #expect(given.count == stream.count, "seed \(seed)")
        for (index, byte) in given.enumerated() {
            let star = UInt8(ascii: "*")
            #expect(byte == stream[index] || byte == star && most[index] == star, "too much, seed \(seed)")
            let isDue = before[index] == star || later[index] == star
            #expect(!isDue || byte == star, "too little, seed \(seed)")
        }
    }

    @Test func aPromptIsNotHeldForever() {
        let secret = Array("pass-word-1234".utf8)
        var redactor = SecretRedactor(SecretPatterns([secret]))
        func take(_ text: String) -> String { String(buffer: redactor.take(ByteBuffer(string: text))) }
        #expect(take("Give p") == "Give ")
        #expect(redactor.holdsShortTail)
        #expect(String(buffer: redactor.letGo()) == "p" && !redactor.holdsShortTail)
        // What follows is masked although its beginning was shown.
        #expect(take("ass-word-1234!") == "*************!")
        #expect(take("pass") == "" && !redactor.holdsShortTail)
        #expect(redactor.letGo().readableBytes == 0)
        #expect(take("word") == "password")
        // The end of the command is not always the end of the stream.
        #expect(take("pass-") == "")
        #expect(String(buffer: redactor.settle()) == "*****")
        #expect(take("word-1234") == "*********")
        #expect(take("pass-w") == "")
        #expect(String(buffer: redactor.finish()) == "pass-w")
    }

    @Test func withoutPatternsNothingIsShown() {
        var redactor = SecretRedactor(nil, position: 7)
        #expect(String(buffer: redactor.take(ByteBuffer(string: "hello\n"))) == "******")
        #expect(redactor.position == 13 && redactor.clean == 13)
    }

    @Test(arguments: ["correct horse/battery+staple?", "s3cr3t-äöü-ß-ü", "line one\nline \"two\"\\\n", "12345678"])
    func formsOfASecretAreMasked(secret: String) throws {
        let bytes = Array(secret.utf8)
        let patterns = SecretPatterns(SecretPatterns.forms(of: bytes))
        let letters = "abcdefghijklmnopqrstuvwxyz"
        let allowed = CharacterSet(charactersIn: letters + letters.uppercased() + "0123456789-._~")
        let percent = try #require(secret.addingPercentEncoding(withAllowedCharacters: allowed))
        let json = String(decoding: try JSONEncoder().encode([secret]), as: UTF8.self)
            .dropFirst(2).dropLast(2).replacing("\\/", with: "/")
        // Hexadecimal digits are written either way; the letters of the secret itself keep their case.
        let lower = percent.replacing(/%[0-9A-F]{2}/) { $0.output.lowercased() }
        for form in [secret, secret.replacing("\n", with: "\r\n"), percent, lower, String(json)] {
            var redactor = SecretRedactor(patterns)
            let shown = String(buffer: redactor.take(ByteBuffer(string: "<\(form)>")))
            #expect(shown == "<" + String(repeating: "*", count: form.utf8.count) + ">", "\(form)")
        }
        for (before, after) in [("", ""), ("u:", ""), ("x", "yz"), ("abc", "!")] {
            let whole = Data("\(before)\(secret)\(after)".utf8).base64EncodedString()
            for text in [whole, whole.replacing("+", with: "-").replacing("/", with: "_")] {
                var redactor = SecretRedactor(patterns)
                let shown =
                    String(buffer: redactor.take(ByteBuffer(string: text)))
                    + String(buffer: redactor.finish())
                #expect(shown.utf8.count == text.utf8.count)
                // At its ends a character may hold bits of a neighbour: it is shown.
                #expect(shown.utf8.count(where: { $0 == UInt8(ascii: "*") }) >= bytes.count * 8 / 6 - 2, "\(shown)")
            }
        }
    }

    /// Between two acknowledgements init must never run out of room, whatever is printed.
    @Test func acknowledgementsGoOnWhenSecretsFollowEachOtherWithoutEnd() throws {
        let patterns = SecretPatterns([Array("abababab".utf8)])
        var log = ExecLog(redactor: SecretRedactor(patterns))
        let step = 64 * 1024
        var offset: UInt64 = 0
        var acknowledged: UInt64 = 0
        for _ in 0..<64 {
            let text = ByteBuffer(string: String(repeating: "ab", count: 8 * 1024))
            try log.receive(text, at: offset)
            offset += UInt64(text.readableBytes)
            _ = log.admit(needed: nil)
            log.wrote(keepRecent: 0)
            if let end = log.acknowledgement(step: step)
                ?? (log.mustCut(step: step) ? log.acknowledgement(step: step, mayCut: true) : nil)
            {
                acknowledged = end
            }
            #expect(offset - acknowledged <= UInt64(Limits.initRingBytes))
        }
        #expect(acknowledged > 0)
    }

    @Test func longestSecretsLeaveRoomInTheRing() {
        #expect(3 * Limits.secretBytes + Limits.initRingBytes / 4 < Limits.initRingBytes)
    }
}
