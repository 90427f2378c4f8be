import FoundationEssentials

/// Hands a `JSONValue` to a `Decodable` type. Each knows whose part it is, from which errors name the field.
final class JSONValueDecoder: Decoder {
    /// Where a value stands in the one around it.
    enum Step {
        case whole
        case member(String)
        case element(Int)
    }

    let value: JSONValue
    private let parent: JSONValueDecoder?
    private let step: Step

    init(_ value: JSONValue, at step: Step = .whole, of parent: JSONValueDecoder? = nil) {
        self.value = value
        self.step = step
        self.parent = parent
    }

    var userInfo: [CodingUserInfoKey: Any] { [:] }

    var codingPath: [any CodingKey] {
        var path = parent?.codingPath ?? []
        switch step {
        case .whole: break
        case .member(let name): path.append(JSONKey(stringValue: name))
        case .element(let index): path.append(JSONKey(index: index))
        }
        return path
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .object(let members) = value else {
            throw mismatch([String: Any].self, "Cannot get keyed decoding container -- found null value instead")
        }
        return KeyedDecodingContainer(JSONMembers(members: members, decoder: self))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        guard case .array(let elements) = value else {
            throw mismatch([Any].self, "Cannot get unkeyed decoding container -- found null value instead")
        }
        return JSONElements(elements: elements, decoder: self)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { self }

    func read<Value: Decodable>(_ type: Value.Type) throws -> Value {
        if type == JSONValue.self { return try handOver(value) }
        if type == Date.self { return try handOver(try date()) }
        if type == Data.self { return try handOver(try data()) }
        // What the standard library reads one by one, with a question to the decoder for each.
        if type == [String: String].self, let members = value.object { return try handOver(try strings(members)) }
        if type == [String: JSONValue].self, let members = value.object { return try handOver(members) }
        if type == [String].self, let elements = value.array { return try handOver(try strings(elements)) }
        return try Value(from: self)
    }

    /// Gives what is of the type already. Not inlined: it would make the way of all the other types longer.
    @inline(never)
    private func handOver<Value>(_ result: some Any) throws -> Value {
        guard let result = result as? Value else { throw mismatch(Value.self) }
        return result
    }

    private func strings(_ members: [String: JSONValue]) throws -> [String: String] {
        var strings = [String: String](minimumCapacity: members.count)
        for (name, value) in members {
            strings[name] = try String(scalar: value) {
                JSONValueDecoder(value, at: .member(name), of: self).mismatch(String.self)
            }
        }
        return strings
    }

    private func strings(_ elements: [JSONValue]) throws -> [String] {
        var strings: [String] = []
        strings.reserveCapacity(elements.count)
        for (index, value) in elements.enumerated() {
            strings.append(
                try String(scalar: value) {
                    JSONValueDecoder(value, at: .element(index), of: self).mismatch(String.self)
                })
        }
        return strings
    }

    private func date() throws -> Date {
        guard let date = DateText.date(try decode(String.self)) else {
            throw DecodingError.dataCorruptedError(
                in: self, debugDescription: "not a date such as 2026-11-21T09:13:00Z")
        }
        return date
    }

    private func data() throws -> Data {
        guard let data = Data(base64Encoded: try decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: self, debugDescription: "not base 64")
        }
        return data
    }

    // MARK: errors

    /// Why the value is not one of the type.
    func mismatch(_ type: any Any.Type, _ nullText: String? = nil) -> DecodingError {
        let kind: String
        switch value {
        case .null:
            let text = nullText ?? "Cannot get value of type \(type) -- found null value instead"
            return .valueNotFound(type, DecodingError.Context(codingPath: codingPath, debugDescription: text))
        case .integer, .number:
            if type is any FixedWidthInteger.Type {
                let text = "Parsed JSON number does not fit in \(type)."
                return .dataCorrupted(
                    DecodingError.Context(
                        codingPath: codingPath, debugDescription: text, underlyingError: NotThisWholeNumber()))
            }
            kind = "number"
        case .bool: kind = "bool"
        case .string: kind = "a string"
        case .array: kind = "an array"
        case .object: kind = "a dictionary"
        }
        return .typeMismatch(
            type,
            DecodingError.Context(
                codingPath: codingPath, debugDescription: "Expected to decode \(type) but found \(kind) instead."))
    }

    /// A number that has a fraction, or is too large or too small, where a whole one is expected.
    struct NotThisWholeNumber: Error {}
}

extension JSONValueDecoder: SingleValueDecodingContainer {
    func decodeNil() -> Bool { value == .null }

    func decode<Value: JSONScalar>(_ type: Value.Type) throws -> Value {
        try Value(scalar: value) { mismatch(type) }
    }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value { try read(type) }
}

/// A name or an index in the path to a value.
struct JSONKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(stringValue: String) {
        self.stringValue = stringValue
        self.intValue = nil
    }

    init(index: Int) {
        self.stringValue = "Index \(index)"
        self.intValue = index
    }

    init?(intValue: Int) { self.init(index: intValue) }
}
