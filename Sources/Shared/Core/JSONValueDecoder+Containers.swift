/// The members of an object, for a type that is made from them. Each question is one look into the dictionary.
struct JSONMembers<Key: CodingKey>: KeyedDecodingContainerProtocol {
    let members: [String: JSONValue]
    let decoder: JSONValueDecoder

    var codingPath: [any CodingKey] { decoder.codingPath }
    var allKeys: [Key] { members.keys.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool { members[key.stringValue] != nil }

    func decodeNil(forKey key: Key) throws -> Bool { try member(key, key.stringValue) == .null }

    func decode<Value: JSONScalar>(_ type: Value.Type, forKey key: Key) throws -> Value {
        let name = key.stringValue
        return try scalar(type, try member(key, name), name)
    }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        let name = key.stringValue
        return try JSONValueDecoder(try member(key, name), at: .member(name), of: decoder).read(type)
    }

    func decodeIfPresent<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value? {
        let name = key.stringValue
        guard let value = members[name], value != .null else { return nil }
        return try JSONValueDecoder(value, at: .member(name), of: decoder).read(type)
    }

    func nestedContainer<Name: CodingKey>(
        keyedBy type: Name.Type, forKey key: Key
    ) throws -> KeyedDecodingContainer<Name> { try part(key).container(keyedBy: type) }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        try part(key).unkeyedContainer()
    }

    func superDecoder() -> any Decoder {
        JSONValueDecoder(members["super"] ?? .null, at: .member("super"), of: decoder)
    }

    func superDecoder(forKey key: Key) -> any Decoder {
        JSONValueDecoder(members[key.stringValue] ?? .null, at: .member(key.stringValue), of: decoder)
    }

    private func part(_ key: Key) throws -> JSONValueDecoder {
        let name = key.stringValue
        return JSONValueDecoder(try member(key, name), at: .member(name), of: decoder)
    }

    private func member(_ key: Key, _ name: String) throws -> JSONValue {
        guard let value = members[name] else {
            throw DecodingError.keyNotFound(
                key,
                DecodingError.Context(
                    codingPath: codingPath, debugDescription: "No value associated with key \(key) (\"\(name)\")."))
        }
        return value
    }

    private func scalar<Value: JSONScalar>(_ type: Value.Type, _ value: JSONValue, _ name: String) throws -> Value {
        try Value(scalar: value) { JSONValueDecoder(value, at: .member(name), of: decoder).mismatch(type) }
    }

    /// Inlined, so that the optional's type is known where it is made.
    @inline(__always)
    private func scalarIfPresent<Value: JSONScalar>(_ type: Value.Type, _ key: Key) throws -> Value? {
        let name = key.stringValue
        guard let value = members[name], value != .null else { return nil }
        return try scalar(type, value, name)
    }
}

/// What the protocol would otherwise answer with three questions each.
extension JSONMembers {
    func decodeIfPresent(_ type: Bool.Type, forKey key: Key) throws -> Bool? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: String.Type, forKey key: Key) throws -> String? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Double.Type, forKey key: Key) throws -> Double? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Float.Type, forKey key: Key) throws -> Float? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Int.Type, forKey key: Key) throws -> Int? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Int8.Type, forKey key: Key) throws -> Int8? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Int16.Type, forKey key: Key) throws -> Int16? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Int32.Type, forKey key: Key) throws -> Int32? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: Int64.Type, forKey key: Key) throws -> Int64? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: UInt.Type, forKey key: Key) throws -> UInt? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: UInt8.Type, forKey key: Key) throws -> UInt8? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: UInt16.Type, forKey key: Key) throws -> UInt16? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: UInt32.Type, forKey key: Key) throws -> UInt32? { try scalarIfPresent(type, key) }
    func decodeIfPresent(_ type: UInt64.Type, forKey key: Key) throws -> UInt64? { try scalarIfPresent(type, key) }
}

/// The elements of an array, one after the other.
struct JSONElements: UnkeyedDecodingContainer {
    let elements: [JSONValue]
    let decoder: JSONValueDecoder
    private(set) var currentIndex = 0

    init(elements: [JSONValue], decoder: JSONValueDecoder) {
        self.elements = elements
        self.decoder = decoder
    }

    var codingPath: [any CodingKey] { decoder.codingPath }
    var count: Int? { elements.count }
    var isAtEnd: Bool { currentIndex >= elements.count }

    mutating func decodeNil() throws -> Bool {
        guard try next(Any?.self).value == .null else { return false }
        currentIndex += 1
        return true
    }

    mutating func decode<Value: JSONScalar>(_ type: Value.Type) throws -> Value {
        let value: Value = try next(type).decode(type)
        currentIndex += 1
        return value
    }

    mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        let value = try next(type).read(type)
        currentIndex += 1
        return value
    }

    mutating func nestedContainer<Name: CodingKey>(keyedBy type: Name.Type) throws -> KeyedDecodingContainer<Name> {
        let container = try next(KeyedDecodingContainer<Name>.self).container(keyedBy: type)
        currentIndex += 1
        return container
    }

    mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
        let container = try next((any UnkeyedDecodingContainer).self).unkeyedContainer()
        currentIndex += 1
        return container
    }

    mutating func superDecoder() throws -> any Decoder {
        let part = try next((any Decoder).self)
        currentIndex += 1
        return part
    }

    /// Stays where it is until the element is read.
    private func next(_ type: any Any.Type) throws -> JSONValueDecoder {
        let index = currentIndex
        guard index < elements.count else {
            throw DecodingError.valueNotFound(
                type,
                DecodingError.Context(
                    codingPath: codingPath + [JSONKey(index: index)],
                    debugDescription: "Unkeyed container is at end."))
        }
        return JSONValueDecoder(elements[index], at: .element(index), of: decoder)
    }
}
