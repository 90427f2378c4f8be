public import FastableCore

extension JSONSchema: Encodable {
    public func encode(to encoder: any Encoder) throws { try json.encode(to: encoder) }

    /// Standard JSON Schema 2020-12.
    public var json: JSONValue {
        var members = keywords
        if let description { members["description"] = .string(description) }
        if let defaultValue { members["default"] = defaultValue }
        return .object(members)
    }

    private var keywords: [String: JSONValue] {
        switch shape {
        case .any: return [:]
        case .null: return ["type": "null"]
        case .boolean: return ["type": "boolean"]
        case .integer(let minimum, let maximum):
            return Self.members(
                "integer", ["minimum": minimum.map(JSONValue.integer), "maximum": maximum.map(JSONValue.integer)])
        case .number(let minimum, let maximum):
            return Self.members(
                "number", ["minimum": minimum.map(JSONValue.number), "maximum": maximum.map(JSONValue.number)])
        case .string(let allowed, let minimum, let maximum):
            // `maxLength` counts characters and we count bytes: what is published is necessary, what is checked is exact.
            return Self.members(
                "string",
                [
                    "enum": allowed.map { .array($0.map(JSONValue.string)) },
                    "minLength": Self.count(minimum.map { min($0, 1) }),
                    "maxLength": Self.count(maximum),
                ])
        case .array(let items, let minimum, let maximum):
            return Self.members(
                "array", ["items": items.json, "minItems": Self.count(minimum), "maxItems": Self.count(maximum)])
        case .map(let values, let maximum):
            return Self.members(
                "object", ["additionalProperties": values.json, "maxProperties": Self.count(maximum)])
        case .object(let members): return Self.keywords(of: members)
        case .anyOf(let choices): return ["anyOf": .array(choices.map(\.json))]
        }
    }

    private static func keywords(of members: Members) -> [String: JSONValue] {
        let properties = members.properties.map { ($0.name, $0.schema.json) }
        let required = members.properties.filter(\.isRequired).map { JSONValue.string($0.name) }
        return self.members(
            "object",
            [
                "properties": .object(Dictionary(properties) { first, _ in first }),
                "required": required.isEmpty ? nil : .array(required),
                "additionalProperties": members.isClosed ? false : nil,
            ])
    }

    private static func members(_ type: String, _ keywords: [String: JSONValue?]) -> [String: JSONValue] {
        var result = keywords.compactMapValues { $0 }
        result["type"] = .string(type)
        return result
    }

    private static func count(_ value: Int?) -> JSONValue? { value.map { .integer(Int64($0)) } }
}
