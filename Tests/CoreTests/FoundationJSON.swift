import FastableCore
import FoundationEssentials

/// Foundation's coders, with which ours must agree.
enum FoundationJSON {
    static func encode(_ value: some Encodable, _ format: JSONEncoder.OutputFormatting = []) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, format]
        encoder.dateEncodingStrategy = .iso8601
        return try encoder.encode(value)
    }

    static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        return try decoder.decode(type, from: data)
    }

    static func value(_ data: Data) throws -> JSONValue { try decode(Reading.self, from: data).value }

    /// A `JSONValue` is read by `JSON.decode` only.
    private struct Reading: Decodable {
        var value: JSONValue

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                value = .null
            } else if let string = try? container.decode(String.self) {
                value = .string(string)
            } else if let members = try? container.decode([String: Reading].self) {
                value = .object(members.mapValues(\.value))
            } else if let number = try? container.decode(Int64.self) {
                value = .integer(number)
            } else if let truth = try? container.decode(Bool.self) {
                value = .bool(truth)
            } else if let elements = try? container.decode([Reading].self) {
                value = .array(elements.map(\.value))
            } else {
                value = .number(try container.decode(Double.self))
            }
        }
    }
}
