public import FastableCore

/// Everything that a daemon can be told, in the order and the groups of its help text.
public struct ConfigurationSchema: Sendable {
    /// `fastable-node`
    public let program: String
    public let version: String
    /// One sentence: what the program does.
    public let summary: String
    let groups: [SettingGroup]
    let examples: [ConfigurationExample]

    /// Adds the settings of the log to the given groups.
    public init(
        program: String, version: String = Version.text, summary: String, groups: [SettingGroup],
        examples: [ConfigurationExample] = []
    ) {
        self.program = program
        self.version = version
        self.summary = summary
        self.groups = groups + [LogSettings.group]
        self.examples = examples
        let keys = settings.map(\.key)
        precondition(Set(keys).count == keys.count, "a setting is declared twice in the schema of \(program)")
    }

    var settings: [AnySetting] { groups.flatMap(\.settings) }

    /// `/etc/fastable/node.yaml` for `fastable-node`: read when it is there and no other file is named.
    public var defaultFile: String {
        let name = program.hasPrefix("fastable-") ? String(program.dropFirst("fastable-".count)) : program
        return "/etc/fastable/\(name).yaml"
    }
}

/// Settings that belong together in the help text.
public struct SettingGroup: Sendable {
    public let title: String
    let settings: [AnySetting]

    public init<each Value: Sendable>(_ title: String, _ settings: repeat Setting<each Value>) {
        self.title = title
        var all: [AnySetting] = []
        repeat all.append(AnySetting(each settings))
        self.settings = all
    }
}

/// A command line for the help text and what it does.
public struct ConfigurationExample: Sendable {
    public let command: String
    public let purpose: String

    public init(_ command: String, _ purpose: String) {
        self.command = command
        self.purpose = purpose
    }
}

/// A daemon's typed configuration: plain values, read once.
public protocol DaemonConfiguration: Sendable {
    static var schema: ConfigurationSchema { get }

    /// - Throws: `FastableError` when settings contradict each other; see ``ConfigurationValues/invalid(_:_:)``.
    init(_ values: ConfigurationValues) throws
}
