import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct JSONCoderTests {
    private enum Kind: String, Codable { case plain, other }

    private enum Event: Codable, Equatable {
        case started(id: Int, name: String?)
        case ended(Double)
        case nothing
    }

    private struct Inner: Codable, Equatable {
        var zebra: Int?
        var apple: [UInt8] = []
        var kind = Kind.other
    }

    private struct Outer: Codable, Equatable {
        var text = "a"
        var inner: Inner?
        var event = Event.nothing
        var at: Date?
        var bytes: Data?
        var counts: [String: Int] = [:]
        var byNumber: [Int: String] = [:]
        var value: JSONValue?
        var nested: [[Inner]] = []
    }

    /// Writes its members in two goes, as a value that shows another one with something more.
    private struct Extended: Codable, Equatable {
        var inner: Inner
        var banana: Bool
        enum CodingKeys: CodingKey { case banana }

        init(inner: Inner, banana: Bool) {
            self.inner = inner
            self.banana = banana
        }

        init(from decoder: any Decoder) throws {
            inner = try Inner(from: decoder)
            banana = try decoder.container(keyedBy: CodingKeys.self).decode(Bool.self, forKey: .banana)
        }

        func encode(to encoder: any Encoder) throws {
            try inner.encode(to: encoder)
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(banana, forKey: .banana)
        }
    }

    private func text(_ bytes: Data) -> String { String(decoding: bytes, as: UTF8.self) }

    private func agrees<Value: Codable & Equatable>(_ value: Value, _ note: String = "") throws {
        let bytes = try JSON.encode(value)
        let theirs = try FoundationJSON.encode(value)
        #expect(bytes == theirs, "\(note)\(text(bytes)) \(text(theirs))")
        #expect(try JSON.decode(Value.self, from: bytes) == value, "\(note)\(value)")
        let pretty = try JSON.encodePretty(value)
        #expect(try pretty == FoundationJSON.encode(value, .prettyPrinted), "\(note)\(text(pretty))")
        #expect(try JSON.decode(Value.self, from: pretty) == value, "\(note)\(value)")
    }

    // MARK: the same as Foundation

    @Test func scalars() throws {
        try agrees(true)
        try agrees([Int8.min, .max])
        try agrees([Int64.min, -1, 0, 9, 10, 99, 100, .max])
        try agrees([UInt64(0), UInt64(Int64.max)])
        try agrees([UInt16.max, 0])
        try agrees([nil, 1, nil] as [Int?])
        try agrees([
            0, -0.0, 1, -1.5, 0.1, 1e15, 1e16, 1e22, 1e300, 1e-4, 1e-5, .leastNonzeroMagnitude, 123_456_789.125,
            1_795_252_380.123,
            .greatestFiniteMagnitude, -.leastNormalMagnitude, .pi,
        ])
        try agrees([Float(0.1), 1, 1e20, .greatestFiniteMagnitude])
        try agrees([Data(), Data([0]), Data([0, 255, 254, 3, 4])])
        try agrees("")
        try agrees(["/": "</script>"])
    }

    /// Above `Int64.max` a number is written exactly; who reads it is told that it is too large.
    @Test func theLargestNumbersAreWrittenOnly() throws {
        let bytes = try JSON.encode([UInt64.max])
        #expect(try bytes == FoundationJSON.encode([UInt64.max]))
        #expect(throws: FastableError.self) { try JSON.decode([UInt64].self, from: bytes) }
        #expect(throws: FastableError.self) { try JSON.decode([UInt64].self, from: Data("[9223372036854775808]".utf8)) }
    }

    @Test func texts() throws {
        let all = String(String.UnicodeScalarView((0...0x17f).compactMap { Unicode.Scalar($0) }))
        try agrees(all + "\u{2028}\u{2029}😀\u{feff}\u{fffe}\u{10ffff}e\u{301}")
        for length in 0..<20 {
            for special in ["\"", "\\", "\n", "\u{1f}", "é", "😀", "\u{7f}", " ", "!", "#", "]", "["] {
                try agrees(String(repeating: "a", count: length) + special + String(repeating: "b", count: 20 - length))
            }
        }
        try agrees(String(repeating: "line one \"quoted\"\tand é漢😀\r\n", count: 20_000))
        try agrees(String(repeating: "plain ", count: 100_000))
    }

    @Test func keysStandInTheOrderOfTheirBytes() throws {
        let keys = [
            "", "b", "B", "a", "é", "e\u{301}x", "z", "a10", "a2", "\u{1f600}", "\u{ffee}", "a\"b", "a!b", "a#b",
            "a\u{1}",
            "a\u{0}", "_", "longerkey1", "longerkey10", "longerkey1\u{0}", "longerke", "longerkf", "\\", "]", "~",
            "\u{7f}",
        ]
        try agrees(Dictionary(uniqueKeysWithValues: keys.map { ($0, $0.utf8.count) }))
        try agrees(Dictionary(uniqueKeysWithValues: keys.map { ($0, $0) }))
        try agrees(Dictionary(uniqueKeysWithValues: keys.map { ($0, JSONValue.string($0)) }))
        try agrees(JSONValue.object(Dictionary(uniqueKeysWithValues: keys.map { ($0, [.string($0)]) })))
        try agrees([10: "a", 9: "b", -1: "c"])
        try agrees(Dictionary(uniqueKeysWithValues: (0..<500).map { ("key\($0)", [$0: "\($0)"]) }))
    }

    @Test func shapes() throws {
        try agrees(Empty())
        try agrees([Empty(), Empty()])
        try agrees(["a": Empty()])
        try agrees([String: Int]())
        try agrees([[Int]](), "none")
        try agrees([[], [1], [[2]]] as JSONValue)
        try agrees([Event.nothing, .ended(1.5), .started(id: 1, name: nil), .started(id: 2, name: "n")])
        try agrees(Outer())
        try agrees(
            Outer(
                text: "\n", inner: Inner(zebra: 1, apple: [1, 2]), event: .started(id: .min, name: "x"),
                at: Date(timeIntervalSince1970: 1_795_252_380), bytes: Data([1, 2, 3]), counts: ["b": 1, "a": 2],
                byNumber: [2: "b", 1: "a"], value: ["z": [1, .null, .number(1.5), true, "s", [:]], "a": [:]],
                nested: [[], [Inner(), Inner(zebra: 5)]]))
        try agrees([Extended(inner: Inner(zebra: 1), banana: true), Extended(inner: Inner(), banana: false)])
    }

    @Test func datesAreWrittenAndReadToTheSecond() throws {
        let seconds = [
            0, 0.5, 0.9999999, 1.9999, -0.5, -1, 951_782_399, 951_782_400, 951_868_800, 4_107_542_400, 253_402_300_799,
            253_402_300_799.9, 253_402_300_800, -14_000_000_000, 1_795_252_380.9999999,
        ]
        for second in seconds {
            let date = Date(timeIntervalSince1970: second)
            #expect(try JSON.encode([date]) == FoundationJSON.encode([date]), "\(second)")
        }
        for text in [
            "2026-11-21T09:13:00Z", "2026-11-21T09:13:00+02:00", "2026-11-21T09:13:00.123Z", "2026-11-21 09:13:00Z",
            "2026-11-21", "2026-02-30T00:00:00Z", "2024-02-29T00:00:00Z", "2026-11-21T24:00:00Z",
            "2026-11-21T09:13:60Z",
            "2026-13-01T00:00:00Z", "2026-00-10T00:00:00Z", "2026-01-00T00:00:00Z", "2026-11-21T09:13:00z",
            "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z", "",
            "٢٠26-11-21T09:13:00Z", "2026-11-31T00:00:00Z", "2026-11-21T09:13:00Zx",
        ] {
            let data = try JSON.encode([text])
            let theirs = try? FoundationJSON.decode([Date].self, from: data)
            #expect((try? JSON.decode([Date].self, from: data)) == theirs, "\(text)")
        }
    }

    @Test(arguments: seeds())
    func randomDatesAgree(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let dates = (0..<300).map { _ in Date(timeIntervalSince1970: Double(random.int(-1_000...260_000_000_000))) }
        try agrees(dates, "seed \(seed): ")
    }

    @Test(arguments: seeds(100))
    func randomValuesAgree(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let value = RandomJSON.value(&random, depth: 5)
        try agrees(value, "seed \(seed): ")
        let bits = Double(bitPattern: random.next())
        if bits.isFinite { try agrees([bits], "seed \(seed): ") }
    }

    @Test(arguments: seeds(100))
    func randomStructuresAgree(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        func inner() -> Inner {
            Inner(
                zebra: random.chance(50) ? random.int(.min ... .max) : nil,
                apple: (0..<random.int(0...3)).map { _ in UInt8(random.int(0...255)) })
        }
        func names() -> [String] { Set((0..<random.int(0...9)).map { _ in RandomJSON.string(&random) }).sorted() }
        let value = Outer(
            text: RandomJSON.string(&random), inner: random.chance(50) ? inner() : nil,
            event: random.chance(50) ? .ended(Double(random.int(-99...99)) / 8) : .started(id: 1, name: names().first),
            at: Date(timeIntervalSince1970: Double(random.int(0...4_000_000_000))),
            bytes: random.chance(50) ? Data(RandomJSON.string(&random).utf8) : nil,
            counts: Dictionary(uniqueKeysWithValues: names().map { ($0, random.int(-9...9)) }),
            byNumber: [random.int(-9...9): RandomJSON.string(&random)],
            value: .object(["v": RandomJSON.value(&random, depth: 3)]),
            nested: (0..<random.int(0...3)).map { _ in [inner(), inner()] })
        try agrees(value, "seed \(seed): ")
    }

    // MARK: reading

    @Test func numbersFitOrAreRefused() throws {
        func read<Value: Decodable>(_ type: Value.Type, _ text: String) -> Value? {
            try? JSON.decode(type, from: Data(text.utf8))
        }
        #expect(read([Int].self, "[3.0, 3e2, 30e-1, -0, -0.0]") == [3, 300, 3, 0, 0])
        #expect(read([Int8].self, "[1e2, -128]") == [100, -128])
        #expect(read([Int8].self, "[128]") == nil && read([UInt8].self, "[-1]") == nil)
        #expect(read([Int].self, "[3.5]") == nil && read([Int].self, "[9223372036854775808]") == nil)
        #expect(read([Double].self, "[1, 123456789012345678901234567890]") == [1, 1.2345678901234568e29])
        #expect(read([Float].self, "[1e39]") == nil)
        #expect(read([Int].self, "[true]") == nil && read([Bool].self, "[1]") == nil)
        #expect(read([String].self, "[1]") == nil && read([String: String].self, #"{"a":1}"#) == nil)
        #expect(read([Int?].self, "[null, 1]") == [nil, 1])
        #expect(read([Data].self, "[\"AAH//g\"]") == nil)
        #expect(read(Int.self, "5") == 5)
    }

    @Test func absentAndNullAreTheSameForWhatIsOptional() throws {
        let text = #"{"text":"t","inner":null,"event":{"nothing":{}},"counts":{},"byNumber":{},"nested":[]}"#
        #expect(try JSON.decode(Outer.self, from: Data(text.utf8)) == Outer(text: "t"))
    }

    @Test(arguments: [
        (#"{"event":5}"#, "The field ‘text’ is missing."),
        (#"{"text":null}"#, "The field ‘text’ has the wrong type or form."),
        (#"{"text":"","event":5}"#, "The field ‘event’ has the wrong type or form."),
        (#"{"text":"","event":{}}"#, "The field ‘event’ has the wrong type or form."),
        (#"{"text":"","event":{"ended":{}}}"#, "The field ‘event.ended._0’ is missing."),
        (#"{"text":"","event":{"ended":{"_0":"1"}}}"#, "The field ‘event.ended._0’ has the wrong type or form."),
        (#"{"text":"","event":{"nothing":{}},"counts":{"a":"1"}}"#, "The field ‘counts.a’ has the wrong type or form."),
        (#"{"text":"","inner":{"apple":[1,true]}}"#, "The field ‘inner.apple[1]’ has the wrong type or form."),
        (
            #"{"text":"","inner":{"apple":[1,256]}}"#,
            "The field ‘inner.apple[1]’ has the wrong type or form: it must be a whole number that is not too large."
        ),
        (#"{"text":"","inner":{"apple":[],"kind":"x"}}"#, "The field ‘inner.kind’ has the wrong type or form."),
        ("[]", "The field ‘’ has the wrong type or form."),
    ])
    func whatDoesNotFitIsNamed(text: String, message: String) throws {
        let error = #expect(throws: FastableError.self) { try JSON.decode(Outer.self, from: Data(text.utf8)) }
        #expect(error?.code == .invalid)
        #expect(error?.message == message)
        let value = try JSONParser.parse(Data(text.utf8))
        #expect(#expect(throws: FastableError.self) { try JSON.decode(Outer.self, from: value) }?.message == message)
    }

    @Test func listsOfTextsNameTheElementToo() {
        let lists = #expect(throws: FastableError.self) {
            try JSON.decode([String: [String]].self, from: Data(#"{"a":["b",1]}"#.utf8))
        }
        #expect(lists?.details["field"] == "a[1]")
        let members = #expect(throws: FastableError.self) {
            try JSON.decode([String: [String: String]].self, from: Data(#"{"a":{"b":null}}"#.utf8))
        }
        #expect(members?.details["field"] == "a.b")
    }

    @Test func deepNestingIsRefused() {
        let text = Data(String(repeating: "[", count: 100_000).utf8)
        let error = #expect(throws: FastableError.self) { try JSON.decode([Int].self, from: text) }
        #expect(error?.code == .tooLarge)
    }

    /// What comes over a link is bounded by its bytes.
    @Test func manyValuesAreReadWhenTheyAreNoRequest() throws {
        let many = [Int](repeating: 1, count: Limits.jsonValues + 1)
        #expect(try JSON.decode([Int].self, from: JSON.encode(many)) == many)
    }

    // MARK: writing

    @Test func whatIsNoNumberIsNotWritten() throws {
        #expect(throws: EncodingError.self) { try JSON.encode(["a": Double.infinity]) }
        #expect(throws: EncodingError.self) { try JSON.encode(JSONValue.array([1, .number(.nan)])) }
        do { _ = try JSON.encode(["a": [1, Double.nan]]) } catch EncodingError.invalidValue(_, let context) {
            #expect(context.codingPath.map { $0.intValue.map { "\($0)" } ?? $0.stringValue } == ["a", "1"])
        }
    }

    /// Of what a type could not write nothing is left.
    @Test func aMemberThatFailsIsLeftOut() throws {
        struct Careless: Encodable {
            enum CodingKeys: CodingKey { case before, wrong, list, after }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: CodingKeys.self)
                try fields.encode(1, forKey: .before)
                try? fields.encode(["x": ["y": Double.nan]], forKey: .wrong)
                try? fields.encode(Double.infinity, forKey: .wrong)
                var list = fields.nestedUnkeyedContainer(forKey: .list)
                try? list.encode([[Double.nan]])
                try list.encode(2)
                #expect(list.count == 1)
                try fields.encode(3, forKey: .after)
            }
        }
        #expect(String(decoding: try JSON.encode(Careless()), as: UTF8.self) == #"{"after":3,"before":1,"list":[2]}"#)
    }

    @Test func theLastValueOfAMemberCounts() throws {
        struct Twice: Encodable {
            enum CodingKeys: CodingKey { case a, b }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: CodingKeys.self)
                try fields.encode(1, forKey: .b)
                try fields.encode(2, forKey: .a)
                try fields.encode([3], forKey: .b)
            }
        }
        #expect(try JSON.encode(Twice()) == FoundationJSON.encode(Twice()))
    }

    @Test func containersNest() throws {
        struct Nesting: Encodable {
            enum CodingKeys: CodingKey { case z, a, m }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: CodingKeys.self)
                var list = fields.nestedUnkeyedContainer(forKey: .z)
                try list.encode(1)
                var inner = list.nestedContainer(keyedBy: CodingKeys.self)
                try inner.encode("x", forKey: .z)
                try inner.encodeNil(forKey: .a)
                var innermost = list.nestedUnkeyedContainer()
                try innermost.encodeNil()
                try list.encodeNil()
                _ = fields.nestedContainer(keyedBy: CodingKeys.self, forKey: .m)
                var again = encoder.container(keyedBy: CodingKeys.self)
                try again.encode(true, forKey: .a)
            }
        }
        #expect(try JSON.encode(Nesting()) == FoundationJSON.encode(Nesting()))
    }

    /// What cannot be written as asked is refused as a whole.
    @Test func misuseThrows() throws {
        struct Super: Encodable {
            enum CodingKeys: CodingKey { case a }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: CodingKeys.self)
                try Inner().encode(to: fields.superEncoder())
                try fields.encode(1, forKey: .a)
            }
        }
        struct Late: Encodable {
            enum CodingKeys: CodingKey { case a, b }
            func encode(to encoder: any Encoder) throws {
                var fields = encoder.container(keyedBy: CodingKeys.self)
                var list = fields.nestedUnkeyedContainer(forKey: .a)
                try fields.encode(1, forKey: .b)
                try list.encode(2)
            }
        }
        struct Both: Encodable {
            func encode(to encoder: any Encoder) throws {
                var single = encoder.singleValueContainer()
                try single.encode(1)
                try single.encode([2])
                var list = encoder.unkeyedContainer()
                try list.encode(3)
            }
        }
        #expect(throws: EncodingError.self) { try JSON.encode([Super()]) }
        #expect(throws: EncodingError.self) { try JSON.encode(["a": Late()]) }
        #expect(throws: EncodingError.self) { try JSON.encode(Both()) }
    }
}
