import ControllerServices
import FastableCore
import TestSupport
import Testing

@Suite struct JSONSchemaTests {
    private static let schema = JSONSchema.input([
        .required("path", .string("A path.", minimumBytes: 1, maximumBytes: 8)),
        .optional("limit", .integer(1...10, default: 5)),
        .optional("ratio", .number(0...1)),
        .optional("deep", .boolean()),
        .optional("kind", .oneOf(["file", "directory"])),
        .optional(
            "edits",
            .array(.input([.required("oldString", .string()), .optional("all", .boolean())]), minimum: 1, maximum: 2)),
        .optional("env", .map(.string(), maximum: 2)),
        .optional("cmd", .anyOf([.string(), .array(.string())])),
    ])

    private func failure(_ input: JSONValue) -> FastableError? {
        #expect(throws: FastableError.self) { try Self.schema.validate(input) }
    }

    @Test func whatFitsPasses() throws {
        try Self.schema.validate(["path": "a"])
        try Self.schema.validate([
            "path": "a", "limit": 10, "ratio": 1, "deep": true, "kind": "file", "edits": [["oldString": ""]],
            "env": ["A": "1"], "cmd": ["ls", "-l"],
        ])
        try Self.schema.validate(["path": "a", "cmd": "ls", "limit": .number(3), "deep": .null])
    }

    @Test func anUnknownFieldIsNamedWithTheNearestOne() {
        let error = failure(["path": "a", "limits": 3])
        #expect(error?.code == .invalid)
        #expect(error?.details["field"] == "limits")
        #expect(error?.message.contains("Did you mean ‘limit’?") == true)
        let nested = failure(["path": "a", "edits": [["old_string": "x", "oldString": "y"]]])
        #expect(nested?.details["field"] == "edits[0].old_string")
        #expect(nested?.message.contains("‘oldString’") == true)
        #expect(failure(["path": "a", "qqqq": 1])?.message.contains("Known fields: path, limit") == true)
    }

    @Test func aMissingFieldIsNamed() {
        #expect(failure([:])?.details["field"] == "path")
        let nested = failure(["path": "a", "edits": [["oldString": "x"], [:]]])
        #expect(nested?.code == .invalid)
        #expect(nested?.details["field"] == "edits[1].oldString")
        // A required field is not given by null.
        #expect(failure(["path": .null])?.code == .invalid)
    }

    @Test(
        arguments: [
            (["path": 1], "path"), (["path": "a", "limit": "3"], "limit"),
            (["path": "a", "limit": .number(1.5)], "limit"),
            (["path": "a", "deep": 1], "deep"), (["path": "a", "edits": [:]], "edits"),
            (["path": "a", "edits": [3]], "edits[0]"),
            (["path": "a", "env": ["A": 1]], "env.A"), (["path": "a", "cmd": 1], "cmd"),
            (["path": "a", "cmd": [1]], "cmd[0]"),
            ([], "input"), ("text", "input"), (.null, "input"),
        ] as [(JSONValue, String)])
    func aWrongTypeIsNamed(input: JSONValue, field: String) {
        let error = failure(input)
        #expect(error?.code == .invalid)
        #expect(error?.details["field"] == .string(field))
        #expect(error?.message.contains("‘\(field)’") == true)
    }

    @Test(
        arguments: [
            (["path": ""], "path", "empty"), (["path": "123456789"], "path", "8 bytes"),
            (["path": "a", "limit": 0], "limit", "between 1 and 10"),
            (["path": "a", "limit": 11], "limit", "between 1 and 10"),
            (["path": "a", "ratio": 2], "ratio", "between 0.0 and 1.0"),
            (["path": "a", "kind": "fil"], "kind", "Did you mean ‘file’?"),
            (["path": "a", "edits": []], "edits", "between 1 and 2"),
            (["path": "a", "env": ["A": "", "B": "", "C": ""]], "env", "at most 2"),
            // Four characters, twelve bytes: limits count bytes.
            (["path": "漢漢漢漢"], "path", "8 bytes"),
        ] as [(JSONValue, String, String)])
    func whatIsOutOfRangeIsNamedWithTheLimit(input: JSONValue, field: String, text: String) {
        let error = failure(input)
        #expect(error?.code == .unprocessable)
        #expect(error?.details["field"] == .string(field))
        #expect(error?.message.contains(text) == true, "\(error?.message ?? "")")
    }

    @Test func itIsWrittenAsStandardJSONSchema() throws {
        let json = Self.schema.json
        #expect(json["type"] == "object")
        #expect(json["additionalProperties"] == false)
        #expect(json["required"] == ["path"])
        #expect(json["properties"]?["limit"] == ["type": "integer", "minimum": 1, "maximum": 10, "default": 5])
        #expect(json["properties"]?["kind"] == ["type": "string", "enum": ["file", "directory"]])
        #expect(
            json["properties"]?["env"] == [
                "type": "object", "additionalProperties": ["type": "string"], "maxProperties": 2,
            ])
        #expect(
            json["properties"]?["cmd"]?["anyOf"] == [
                ["type": "string"], ["type": "array", "items": ["type": "string"]],
            ])
        #expect(JSONSchema.output([]).json == ["type": "object", "properties": [:]])
        #expect(
            JSONSchema.nullable(.integer(nil, "x")).json == [
                "description": "x", "anyOf": [["type": "integer"], ["type": "null"]],
            ])
        #expect(RandomJSON.normal(try JSONParser.parse(JSON.encode(Self.schema))) == RandomJSON.normal(json))
    }

    @Test func openObjectsTakeMoreMembersUntilTheyAreClosed() throws {
        let schema = JSONSchema.output([.required("a", .array(.output([.required("b", .boolean())])))])
        let value: JSONValue = ["a": [["b": true, "c": 1]]]
        try schema.validate(value)
        #expect(
            #expect(throws: FastableError.self) { try schema.closed().validate(value) }?.details["field"] == "a[0].c")
    }

    // MARK: random

    @Test(arguments: seeds(300))
    func valuesMadeFromASchemaFitIt(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let schema = RandomSchema.schema(&random, depth: 4)
        let value = RandomSchema.value(of: schema, &random)
        try schema.validate(value)
    }

    @Test(arguments: seeds(300))
    func oneUnknownMemberAnywhereIsFound(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let schema = JSONSchema.input([.required("inner", RandomSchema.schema(&random, depth: 4))])
        let value = RandomSchema.value(of: schema, &random)
        guard let broken = RandomSchema.addingMember(to: value, of: schema, &random) else { return }
        let error = #expect(throws: FastableError.self) { try schema.validate(broken) }
        #expect(error?.code == .invalid)
        #expect(error?.details["field"]?.string?.hasSuffix("unexpected") == true)
    }

    @Test(arguments: seeds(300))
    func anyValueGivesAnAnswerAndNeverTraps(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let schema = RandomSchema.schema(&random, depth: 4)
        do {
            try schema.validate(RandomJSON.value(&random, depth: 5))
        } catch let error as FastableError {
            #expect(error.code == .invalid || error.code == .unprocessable)
            #expect(error.details["field"]?.string?.isEmpty == false)
        } catch {
            Issue.record("unexpected \(error)")
        }
    }
}

/// Random schemas, and random values that fit them.
enum RandomSchema {
    static func schema(_ random: inout SeededGenerator, depth: Int) -> JSONSchema {
        switch random.int(0...(depth > 0 ? 7 : 4)) {
        case 0: return .boolean()
        case 1: return .integer(random.chance(50) ? -5...5 : nil)
        case 2: return .number(random.chance(50) ? 0...1 : nil)
        case 3: return random.chance(50) ? .string(maximumBytes: 64) : .oneOf(["a", "b"])
        case 4: return .nullable(.integer())
        case 5: return .array(schema(&random, depth: depth - 1), maximum: 3)
        case 6: return .map(schema(&random, depth: depth - 1), maximum: 3)
        default:
            let properties = (0..<random.int(0...4)).map { index -> JSONSchema.Property in
                let inner = schema(&random, depth: depth - 1)
                return random.chance(50)
                    ? JSONSchema.Property.required("field\(index)", inner) : .optional("field\(index)", inner)
            }
            return .input(properties)
        }
    }

    static func value(of schema: JSONSchema, _ random: inout SeededGenerator) -> JSONValue {
        switch schema.shape {
        case .any, .null: return .null
        case .boolean: return .bool(random.chance(50))
        case .integer(let minimum, let maximum):
            return .integer(Int64.random(in: (minimum ?? -1000)...(maximum ?? 1000), using: &random))
        case .number(let minimum, let maximum):
            return .number(Double.random(in: (minimum ?? -1)...(maximum ?? 1), using: &random))
        case .string(let allowed, _, _):
            return .string(allowed?.randomElement(using: &random) ?? RandomJSON.string(&random))
        case .array(let items, _, let maximum):
            return .array((0..<random.int(0...(maximum ?? 3))).map { _ in value(of: items, &random) })
        case .map(let values, let maximum):
            let entries = (0..<random.int(0...(maximum ?? 3))).map { ("key\($0)", value(of: values, &random)) }
            return .object(Dictionary(entries) { first, _ in first })
        case .object(let members):
            let present = members.properties.filter { $0.isRequired || random.chance(50) }
            let entries = present.map { ($0.name, value(of: $0.schema, &random)) }
            return .object(Dictionary(entries) { first, _ in first })
        case .anyOf(let choices): return value(of: choices[random.int(0...(choices.count - 1))], &random)
        }
    }

    /// The value with a member more in one of its closed objects.
    static func addingMember(
        to value: JSONValue, of schema: JSONSchema, _ random: inout SeededGenerator
    ) -> JSONValue? {
        switch (schema.shape, value) {
        case (.object(let members), .object(var object)):
            for property in members.properties.shuffled(using: &random) {
                guard let inner = object[property.name], random.chance(70) else { continue }
                guard let broken = addingMember(to: inner, of: property.schema, &random) else { continue }
                object[property.name] = broken
                return .object(object)
            }
            object["unexpected"] = 1
            return .object(object)
        case (.array(let items, _, _), .array(var elements)):
            guard !elements.isEmpty, let broken = addingMember(to: elements[0], of: items, &random) else { return nil }
            elements[0] = broken
            return .array(elements)
        default: return nil
        }
    }
}
