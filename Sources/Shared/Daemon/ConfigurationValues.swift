public import FastableCore

/// Where the value of a setting comes from.
public enum ConfigurationSource: Sendable, Equatable, CustomStringConvertible {
    case flag(String)
    case environment(String)
    case file(String)
    case `default`

    public var description: String {
        switch self {
        case .flag(let name): "flag \(name)"
        case .environment(let name): "environment \(name)"
        case .file(let path): "file \(path)"
        case .default: "default"
        }
    }
}

/// The values of all settings of a schema, read once at start into the daemon's own typed tree.
public struct ConfigurationValues: Sendable {
    private(set) var entries: [ConfigurationEntry] = []
    private var byKey: [String: Int] = [:]

    init() {}

    mutating func append(_ entry: ConfigurationEntry) {
        byKey[entry.key] = entries.count
        entries.append(entry)
    }

    /// The value of a setting. The setting must be in the schema; anything else is a mistake of the program.
    public subscript<Value>(setting: Setting<Value>) -> Value {
        guard let value = entry(setting)?.box as? ValueBox<Value> else {
            preconditionFailure("‘\(setting.key)’ is not in the schema, or stands after the setting that reads it")
        }
        return value.value
    }

    /// Where the value comes from.
    public func source<Value>(of setting: Setting<Value>) -> ConfigurationSource {
        entry(setting)?.source ?? .default
    }

    /// For a check over several settings: the error that names this one and where its value stands.
    ///
    /// - Parameter problem: completes ‘the setting …’: ‘must not be loopback when …’, without a full stop.
    public func invalid<Value>(_ setting: Setting<Value>, _ problem: String) -> FastableError {
        .setting(setting.key, from: source(of: setting), problem)
    }

    private func entry<Value>(_ setting: Setting<Value>) -> ConfigurationEntry? {
        byKey[setting.key].map { entries[$0] }
    }
}

struct ConfigurationEntry: Sendable {
    let key: String
    let box: any Sendable
    let printed: PrintedValue
    let source: ConfigurationSource
}

/// Keeps a value whose type is known only to its setting. An optional inside is not flattened by a cast, as it would be
/// without the box.
struct ValueBox<Value: Sendable>: Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
