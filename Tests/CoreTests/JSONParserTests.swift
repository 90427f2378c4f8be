import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct JSONParserTests {
    private func parse(_ text: String) throws -> JSONValue { try JSONParser.parse(Data(text.utf8)) }

    @Test func valuesAreReadExactly() throws {
        #expect(try parse(" null ") == .null)
        #expect(try parse("[true,false]") == [true, false])
        #expect(try parse("9223372036854775807") == .integer(.max))
        #expect(try parse("-9223372036854775808") == .integer(.min))
        #expect(try parse("9223372036854775808") == .number(9_223_372_036_854_775_808))
        #expect(try parse("[-0, 1.5, 1e3, 2E-2]") == [.integer(0), .number(1.5), .number(1000), .number(0.02)])
        #expect(try parse(#"{"a":{"b":[]},"c":""}"#) == ["a": ["b": []], "c": ""])
    }

    @Test func stringsAreUnescaped() throws {
        #expect(try parse(#""a\"\\\/\b\f\n\r\t""#) == "a\"\\/\u{8}\u{c}\n\r\t")
        #expect(try parse(#""é\u00e9\ud83d\ude00x""#) == "éé😀x")
        #expect(try parse(#""\u0000""#) == "\0")
    }

    @Test(arguments: [
        "", " ", "{", "[", "\"", "nul", "tru", "+1", "01", "1.", ".5", "1e", "-", "[1,]", "{\"a\":1,}", "{a:1}",
        "{\"a\" 1}",
        "[1 2]", "1 2", "\"\u{1}\"", #""\x""#, #""\u12g4""#, #""\ud800""#, #""\ud800A""#, #""\udc00""#, "'a'", "1e999",
        "NaN",
    ])
    func whatIsNotJSONIsRefused(text: String) {
        let error = #expect(throws: FastableError.self) { try parse(text) }
        #expect(error?.code == .invalid, "\(text)")
        #expect(error?.message.contains("at byte") == true, "\(text)")
    }

    @Test func bytesThatAreNotUTF8AreRefused() {
        let error = #expect(throws: FastableError.self) { try JSONParser.parse(Data([0x22, 0xff, 0x22])) }
        #expect(error?.code == .invalid)
    }

    @Test func aRepeatedKeyIsRefusedAndNamed() {
        let error = #expect(throws: FastableError.self) { try parse(#"{"path":"a","p\u0061th":"b"}"#) }
        #expect(error?.code == .invalid)
        #expect(error?.details["field"] == "path")
    }

    @Test func depthAndNumberOfValuesAreLimited() throws {
        let deepest = Limits.jsonDepth - 1
        _ = try parse(String(repeating: "[", count: deepest) + "1" + String(repeating: "]", count: deepest))
        let tooDeep = String(repeating: "[", count: Limits.jsonDepth) + "1"
        #expect(#expect(throws: FastableError.self) { try parse(tooDeep) }?.code == .tooLarge)
        // A body of deep nesting must not exhaust the stack either.
        #expect(throws: FastableError.self) { try parse(String(repeating: "[", count: 1_000_000)) }
        let many = "[" + String(repeating: "1,", count: Limits.jsonValues) + "1]"
        #expect(#expect(throws: FastableError.self) { try parse(many) }?.code == .tooLarge)
    }

    @Test(arguments: seeds(200))
    func whatWasWrittenIsReadBack(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let value = RandomJSON.value(&random, depth: 5)
        #expect(try JSONParser.parse(JSON.encode(value)) == value)
        #expect(try JSONParser.parse(JSON.encodePretty(value)) == value)
    }

    @Test(arguments: seeds(200))
    func changedBytesNeverTrapAndAgreeWithFoundation(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var bytes = [UInt8](try JSON.encode(RandomJSON.value(&random, depth: 4)))
        for _ in 0..<random.int(1...3) where !bytes.isEmpty {
            bytes[random.int(0...(bytes.count - 1))] = UInt8(random.int(0...255))
        }
        guard let value = try? JSONParser.parse(Data(bytes)) else { return }
        #expect(try JSON.decode(JSONValue.self, from: Data(bytes)) == value)
        #expect(RandomJSON.normal(try FoundationJSON.value(Data(bytes))) == RandomJSON.normal(value))
    }

    /// Text is looked at in pieces of eight bytes: what is special is seen wherever it stands.
    @Test(arguments: 0..<20)
    func specialBytesAreSeenAtEachPlace(length: Int) throws {
        let specials = [("\\n", "\n"), ("\\\"", "\""), ("\\u007f", "\u{7f}"), ("é", "é"), ("\u{7f}", "\u{7f}")]
        for (escaped, plain) in specials {
            let before = String(repeating: "~", count: length)
            #expect(try parse("[\"\(before)\(escaped)\(before)\",1]") == [.string(before + plain + before), 1])
        }
        let control = "\"\(String(repeating: "a", count: length))\u{1f}aaaaaaaaaaaa\""
        let error = #expect(throws: FastableError.self) { try parse(control) }
        #expect(error?.details["position"] == .integer(Int64(length + 1)))
        let text = [0x22] + [UInt8](repeating: 0x61, count: length) + [0xc3, 0x22, 0x61]
        #expect(throws: FastableError.self) { try JSONParser.parse(Data(text)) }
    }

    /// A part of other data, whose indices do not begin with zero.
    @Test func aSliceIsReadFromItsBeginning() throws {
        let data = Data("x{\"a\":[1]}".utf8)
        #expect(try JSONParser.parse(data.dropFirst()) == ["a": [1]])
        #expect(try JSON.decode([String: [Int]].self, from: data.dropFirst()) == ["a": [1]])
    }
}
