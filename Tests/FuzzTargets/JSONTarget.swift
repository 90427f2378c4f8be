import FastableCore
import FoundationEssentials

/// JSON, as clients, nodes and files bring it: read, made a value of, written and read again; compared with what
/// Foundation's reader understands.
enum JSONTarget {
    static func run(_ bytes: [UInt8]) throws {
        let data = Data(bytes)
        let value: JSONValue
        do { value = try JSON.decode(JSONValue.self, from: data) } catch let error as FastableError {
            try require([.invalid, .tooLarge].contains(error.code), "an error of the wrong kind: \(error)")
            return
        }
        let text = try JSON.encode(value)
        let again = try JSON.decode(JSONValue.self, from: text)
        try require(Foreign(again) == Foreign(value), "another value after it was written and read again")
        try require(try JSON.decode(from: JSON.encodePretty(value)) == again, "another value after it was indented")
        // Not of the first text: `-0.0` is written `-0`, which is read as 0.
        let settled = try JSON.encode(again)
        try require(try JSON.encode(JSON.decode(JSONValue.self, from: settled)) == settled, "other bytes for one value")
        // Foundation refuses some numbers that RFC 8259 allows, such as `0e3` and `1e-999`.
        if let foreign = foreign(data) {
            try require(Foreign(value) == foreign, "another value than Foundation reads")
        }
        try require(Foreign(value) == foreign(text), "Foundation reads something else in what was written")
        try makeMessages(of: data)
    }

    /// What does not fit is refused, and a message that was read says the same when it was sent.
    private static func makeMessages(of data: Data) throws {
        try sendOn(ExecCommand.self, data)
        try sendOn(ExecEvent.self, data)
        try sendOn(ExecResult.self, data)
        try sendOn(FastableError.self, data)
        try sendOn(ContainerSpec.self, data)
        try sendOn([String: [Int32?]].self, data)
    }

    private static func sendOn<Message: Codable>(_ type: Message.Type, _ data: Data) throws {
        let message: Message
        do { message = try JSON.decode(type, from: data) } catch let error as FastableError {
            try require([.invalid, .tooLarge].contains(error.code), "an error of the wrong kind: \(error)")
            return
        }
        let sent = try JSON.encode(message)
        try require(try JSON.encode(JSON.decode(type, from: sent)) == sent, "another \(type) than was sent")
    }

    private static func foreign(_ data: Data) -> Foreign? { try? JSONDecoder().decode(Foreign.self, from: data) }

    /// A value as Foundation's reader tells it. It does not tell `1` from `1.0`.
    private enum Foreign: Decodable, Equatable {
        case null
        case truth(Bool)
        case number(Double)
        case text([UInt8])
        case list([Foreign])
        case members([[UInt8]: Foreign])

        init(_ value: JSONValue) {
            switch value {
            case .null: self = .null
            case .bool(let truth): self = .truth(truth)
            case .integer(let number): self = .number(Double(number))
            case .number(let number): self = .number(number)
            case .string(let text): self = .text(Array(text.utf8))
            case .array(let values): self = .list(values.map { Foreign($0) })
            case .object(let members): self = Foreign.object(members.mapValues { Foreign($0) })
            }
        }

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let truth = try? container.decode(Bool.self) {
                self = .truth(truth)
            } else if let number = try? container.decode(Double.self) {
                self = .number(number)
            } else if let text = try? container.decode(String.self) {
                self = .text(Array(text.utf8))
            } else if let values = try? container.decode([Foreign].self) {
                self = .list(values)
            } else {
                self = Foreign.object(try container.decode([String: Foreign].self))
            }
        }

        /// Keys by their bytes: two texts that look the same are one key to Swift.
        private static func object(_ members: [String: Foreign]) -> Foreign {
            .members(Dictionary(members.map { (Array($0.key.utf8), $0.value) }) { first, _ in first })
        }
    }

    static let seeds: [[UInt8]] = [
        #"{"a":[1,-2.5e3,true,false,null],"b":{"c":"x\n\u00e9\ud83d\ude00","":{}}}"#,
        #"{"arguments":["a"],"workingDirectory":"/w","environment":{"A":"b"},"timeoutMilliseconds":1,"takesInput":false,"overflow":"slow"}"#,
        #"{"finished":{"_0":{"exec":"exe_1","startedAt":"2026-11-21T09:13:00Z"}}}"#,
        #"{"code":"not_found","message":"m","details":{"n":[9007199254740993,1e300,-0]}}"#,
        #"  [ "\"\\\/\b\f\n\r\t" , 0.1 ,12345678901234567890] "#, #"{"a":[1,null,-7]}"#,
    ].map { Array($0.utf8) }
}
