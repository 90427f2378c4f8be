import FoundationEssentials

/// Where all the encoders and containers of one value write.
final class JSONWriter {
    /// Nothing that changes the text calls what might change it meanwhile, so no time is spent on watching that.
    @exclusivity(unchecked) var text = JSONText()
    /// Why the text is not that of the value. A container has no place to throw it at once.
    private(set) var misuse: String?

    /// The JSON text of a value. Throws `EncodingError`, or what the value's type throws.
    static func bytes(of value: some Encodable) throws -> [UInt8] {
        let writer = JSONWriter()
        try writer.write(value)
        if let misuse = writer.misuse {
            throw EncodingError.invalidValue(
                value, EncodingError.Context(codingPath: [], debugDescription: misuse))
        }
        return writer.text.bytes
    }

    /// Writes a value where one is expected now, or nothing when it throws.
    func write<Value: Encodable>(_ value: Value) throws {
        if Value.self == JSONValue.self, let value = value as? JSONValue { return try text.write(value) }
        if Value.self == Date.self, let date = value as? Date { return text.write(DateText.text(date)) }
        if Value.self == Data.self, let data = value as? Data { return text.write(data.base64EncodedString()) }
        // What the standard library writes one by one, with a question to the encoder for each.
        if Value.self == [String: String].self, let members = value as? [String: String] { return text.write(members) }
        if Value.self == [String].self, let elements = value as? [String] { return text.write(elements) }
        if Value.self == [String: JSONValue].self, let members = value as? [String: JSONValue] {
            return try text.write(.object(members))
        }
        let depth = text.depth
        let start = text.bytes.count
        try value.encode(to: JSONTextEncoder(writer: self, depth: depth, start: start))
        text.close(to: depth)
        // A type without properties says nothing at all.
        if text.bytes.count == start { text.append("{}") }
    }

    /// What is written there goes nowhere, and no text is given in the end.
    func elsewhere(because misuse: String) -> JSONWriter {
        self.misuse = self.misuse ?? misuse
        return JSONWriter()
    }
}

/// Writes one value, at the place where the text is when it is made.
struct JSONTextEncoder: Encoder {
    let writer: JSONWriter
    let depth: Int
    let start: Int

    var codingPath: [any CodingKey] { writer.text.path }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        KeyedEncodingContainer(JSONMemberWriter(level: level(isObject: true)))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer { JSONElementWriter(level: level(isObject: false)) }

    func singleValueContainer() -> any SingleValueEncodingContainer { self }

    /// The one that is open already, when a value asks again for where it has written before.
    private func level(isObject: Bool) -> JSONOpenLevel {
        if let number = writer.text.number(at: depth + 1, isObject: isObject, from: start) {
            return JSONOpenLevel(writer: writer, depth: depth + 1, number: number)
        }
        return JSONOpenLevel.new(in: place(), isObject: isObject)
    }

    /// Where the value is to be written: nothing may stand there yet.
    private func place() -> JSONWriter {
        guard writer.text.bytes.count == start else {
            return writer.elsewhere(because: "A type has encoded itself as two values at once.")
        }
        return writer
    }
}

extension JSONTextEncoder: SingleValueEncodingContainer {
    func encodeNil() { place().text.writeNull() }

    func encode<Value: JSONScalar>(_ value: Value) throws { try value.write(to: &place().text) }

    func encode<Value: Encodable>(_ value: Value) throws { try place().write(value) }
}

/// An object or an array in the text, which gets further members or elements until something around it goes on.
struct JSONOpenLevel {
    let writer: JSONWriter
    let depth: Int
    let number: Int

    static func new(in writer: JSONWriter, isObject: Bool) -> JSONOpenLevel {
        let number = writer.text.open(isObject: isObject)
        return JSONOpenLevel(writer: writer, depth: writer.text.depth, number: number)
    }

    /// Gives what the value of one more member, or element, is written with.
    func begin(_ key: String?) -> JSONWriter {
        guard !writer.text.beginEntry(key, of: number, at: depth) else { return writer }
        return writer.elsewhere(because: "A nested container was written to after the one around it went on.")
    }

    func write(_ key: String?, _ value: some JSONScalar) throws {
        let writer = begin(key)
        do { try value.write(to: &writer.text) } catch {
            writer.text.removeEntry(at: depth)
            throw error
        }
    }

    func write(_ key: String?, _ value: some Encodable) throws {
        let writer = begin(key)
        do { try writer.write(value) } catch {
            writer.text.removeEntry(at: depth)
            throw error
        }
    }

    /// An object or an array as the next value; it stays open.
    func nested(_ key: String?, isObject: Bool) -> JSONOpenLevel { .new(in: begin(key), isObject: isObject) }

    func misused() -> any Encoder {
        let writer = writer.elsewhere(because: "A class's part of its subclass cannot be encoded.")
        return JSONTextEncoder(writer: writer, depth: 0, start: 0)
    }
}
