import FastableCore
import FoundationEssentials
import Testing

@Suite struct JSONValueTests {
    func decode(_ text: String) throws -> JSONValue { try JSON.decode(from: Data(text.utf8)) }

    @Test(
        arguments: [
            ("null", .null), ("true", true), ("false", false), ("0", 0), ("-1", -1),
            ("9007199254740993", .integer(9_007_199_254_740_993)), ("9223372036854775807", .integer(.max)),
            ("-9223372036854775808", .integer(.min)), ("1.5", .number(1.5)), ("\"\"", ""), ("\"a\\u0000b\"", "a\u{0}b"),
            ("[]", []), ("[1,\"a\",null,[]]", [1, "a", .null, []]), ("{}", [:]),
            ("{\"a\":{\"b\":[true]}}", ["a": ["b": [true]]]),
        ] as [(String, JSONValue)])
    func roundTrip(text: String, value: JSONValue) throws {
        #expect(try decode(text) == value)
        #expect(try decode(String(decoding: try JSON.encode(value), as: UTF8.self)) == value)
    }

    @Test func numbersBeyondIntegersStayNumbers() throws {
        #expect(try decode("1e300") == .number(1e300))
        #expect(try decode("18446744073709551616").integer == nil)
        #expect(try decode("3.0").integer == 3)
        #expect(try decode("3.5").integer == nil)
        #expect(JSONValue.number(.infinity).integer == nil)
        #expect(JSONValue.string("3").integer == nil)
    }

    @Test func accessorsGiveOnlyTheirKind() {
        let value: JSONValue = ["s": "x", "b": false, "a": [1], "n": 1]
        #expect(value["s"]?.string == "x" && value["s"]?.bool == nil)
        #expect(value["b"]?.bool == false && value["b"]?.integer == nil)
        #expect(value["a"]?.array == [1] && value["a"]?.object == nil)
        #expect(value["missing"] == nil)
        #expect(JSONValue.array([])["a"] == nil)
        #expect(value.object?.count == 4)
    }

    @Test func equalValuesGiveEqualBytes() throws {
        let text = String(decoding: try JSON.encode(["b": 1, "a": "x/y"] as JSONValue), as: UTF8.self)
        #expect(text == "{\"a\":\"x/y\",\"b\":1}")
        let pretty = try JSON.encodePretty(["b": 1, "a": [true]] as JSONValue)
        #expect(try JSON.decode(JSONValue.self, from: pretty) == ["b": 1, "a": [true]])
        #expect(pretty.contains(0x0a))
    }
}

@Suite struct JSONDecodeTests {
    struct Inner: Codable, Equatable {
        var count: Int
        var id: ProjectID?
    }

    struct Outer: Codable, Equatable {
        var name: String
        var items: [Inner]
        var at: Date?
    }

    func failure(_ text: String) -> FastableError? {
        #expect(throws: FastableError.self, "\(text)") { _ = try JSON.decode(Outer.self, from: Data(text.utf8)) }
    }

    @Test func good() throws {
        let value = try JSON.decode(
            Outer.self, from: Data(#"{"name":"n","items":[{"count":1}],"at":"2026-11-21T09:13:00Z"}"#.utf8))
        #expect(value.items == [Inner(count: 1, id: nil)])
        #expect(value.at == Date(timeIntervalSince1970: 1_795_252_380))
        #expect(try JSON.decode(Outer.self, from: try JSON.encode(value)) == value)
    }

    @Test(arguments: [
        (#"{"items":[]}"#, "name", "missing"),
        (#"{"name":"n","items":[{"count":1},{}]}"#, "items[1].count", "missing"),
        (#"{"name":5,"items":[]}"#, "name", "wrong type"),
        (#"{"name":"n","items":{}}"#, "items", "wrong type"),
        (#"{"name":"n","items":[{"count":"1"}]}"#, "items[0].count", "wrong type"),
        (#"{"name":"n","items":[{"count":1.5}]}"#, "items[0].count", "wrong type"),
        (#"{"name":null,"items":[]}"#, "name", "wrong type"),
        (#"{"name":"n","items":[{"count":1,"id":"exe_1"}]}"#, "items[0].id", "wrong type or form"),
        (#"{"name":"n","items":[],"at":"yesterday"}"#, "at", "wrong type or form"),
    ])
    func namesTheField(text: String, field: String, problem: String) {
        let error = failure(text)
        #expect(error?.code == .invalid)
        #expect(error?.message.contains("‘\(field)’") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(problem) == true, "\(error?.message ?? "")")
        #expect(error?.details["field"] == .string(field))
    }

    @Test func namesTheFirstWrongNumber() {
        for (count, other) in [("1.5", "99999999999999999999"), ("99999999999999999999", "1.5"), ("1e19", "{}")] {
            let error = failure(#"{"name":"n","items":[{"count":\#(count)},{"count":\#(other)}]}"#)
            #expect(error?.code == .invalid)
            let rule = "it must be a whole number that is not too large."
            #expect(error?.message == "The field ‘items[0].count’ has the wrong type or form: \(rule)")
            #expect(error?.details == ["field": "items[0].count"])
        }
    }

    @Test(arguments: ["", "{", "nonsense", "{\"name\":}", "\u{feff}", "{\"name\":\"\\ud800\"", "[1,2"])
    func saysWhenItIsNoJSON(text: String) {
        let error = failure(text)
        #expect(error?.code == .invalid)
        #expect(error?.message.hasPrefix("The body is not valid JSON: ") == true)
        #expect(error?.message.contains("at byte") == true)
    }
}
