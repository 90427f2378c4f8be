/// Writes the members of an object, in any order.
struct JSONMemberWriter<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let level: JSONOpenLevel

    var codingPath: [any CodingKey] { level.writer.text.path }

    func encodeNil(forKey key: Key) { level.begin(key.stringValue).text.writeNull() }

    func encode<Value: JSONScalar>(_ value: Value, forKey key: Key) throws {
        try level.write(key.stringValue, value)
    }

    func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
        try level.write(key.stringValue, value)
    }

    func nestedContainer<Name: CodingKey>(keyedBy type: Name.Type, forKey key: Key) -> KeyedEncodingContainer<Name> {
        KeyedEncodingContainer(JSONMemberWriter<Name>(level: level.nested(key.stringValue, isObject: true)))
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        JSONElementWriter(level: level.nested(key.stringValue, isObject: false))
    }

    func superEncoder() -> any Encoder { level.misused() }

    func superEncoder(forKey key: Key) -> any Encoder { level.misused() }
}

/// Writes the elements of an array.
struct JSONElementWriter: UnkeyedEncodingContainer {
    let level: JSONOpenLevel

    var codingPath: [any CodingKey] { level.writer.text.path }
    var count: Int { level.writer.text.entries(of: level.number, at: level.depth) }

    func encodeNil() { level.begin(nil).text.writeNull() }

    func encode<Value: JSONScalar>(_ value: Value) throws { try level.write(nil, value) }

    func encode<Value: Encodable>(_ value: Value) throws { try level.write(nil, value) }

    func nestedContainer<Name: CodingKey>(keyedBy type: Name.Type) -> KeyedEncodingContainer<Name> {
        KeyedEncodingContainer(JSONMemberWriter<Name>(level: level.nested(nil, isObject: true)))
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
        JSONElementWriter(level: level.nested(nil, isObject: false))
    }

    func superEncoder() -> any Encoder { level.misused() }
}
