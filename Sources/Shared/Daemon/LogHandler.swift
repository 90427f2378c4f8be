import FastableCore
public import Logging

/// Writes each record as one line, at once and whole.
public struct LineLogHandler: LogHandler {
    public var metadata: Logger.Metadata = [:]
    public var metadataProvider: Logger.MetadataProvider?
    public var logLevel: Logger.Level
    private let label: String
    private let format: LogFormat
    private let output: LogOutput

    public init(label: String, settings: LogSettings, output: LogOutput, metadataProvider: Logger.MetadataProvider?) {
        self.label = label
        self.logLevel = settings.level
        self.format = settings.format
        self.output = output
        self.metadataProvider = metadataProvider
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        var fields = metadata
        fields.merge(metadataProvider?.get() ?? [:]) { $1 }
        fields.merge(event.metadata ?? [:]) { $1 }
        if let error = event.error { fields["error"] = .string("\(error)") }
        let record = LogRecord(
            milliseconds: WallClock.nowMilliseconds(), level: event.level, label: label,
            message: event.message.description, fields: fields)
        output.write(line: format == .json ? record.json : record.text)
    }
}

/// One record of the log, before it is a line.
struct LogRecord {
    var milliseconds: UInt64
    var level: Logger.Level
    var label: String
    var message: String
    var fields: Logger.Metadata

    /// `2026-11-21T09:13:05.123Z info  message key=value`
    var text: String {
        let message = LogText.escape(LogText.cut(message), quoting: false)
        let word = level.rawValue.padded(to: 7)
        let pairs = flattened.map { " " + LogText.pair($0.key, $0.value) }.joined()
        return "\(DateText.text(milliseconds: milliseconds)) \(word) \(message)\(pairs)"
    }

    var json: String {
        var members: [String: JSONValue] = [
            "time": .string(DateText.text(milliseconds: milliseconds)), "level": .string(level.rawValue),
            "logger": .string(label), "message": .string(LogText.cut(message)),
        ]
        if !fields.isEmpty { members["fields"] = .object(fields.mapValues(Self.json)) }
        guard let data = try? JSON.encode(JSONValue.object(members)) else { return text }
        return String(decoding: data, as: UTF8.self)
    }

    /// Sorted by key; the members of a dictionary become keys of their own: `peer.address`.
    private var flattened: [(key: String, value: String)] {
        fields.flatMap { Self.flatten($0.key, $0.value) }.sorted { $0.key < $1.key }
    }

    private static func flatten(_ key: String, _ value: Logger.MetadataValue) -> [(key: String, value: String)] {
        switch value {
        case .dictionary(let members): members.flatMap { flatten("\(key).\($0.key)", $0.value) }
        case .string, .stringConvertible, .array: [(key, value.description)]
        }
    }

    private static func json(_ value: Logger.MetadataValue) -> JSONValue {
        switch value {
        case .string(let text): .string(LogText.cut(text))
        case .stringConvertible(let value): .string(LogText.cut(value.description))
        case .array(let values): .array(values.map(json))
        case .dictionary(let members): .object(members.mapValues(json))
        }
    }
}

extension String {
    fileprivate func padded(to length: Int) -> String {
        self + String(repeating: " ", count: max(0, length - utf8.count))
    }
}
