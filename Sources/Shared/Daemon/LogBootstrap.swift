public import Logging

/// How records look: for people or for machines.
public enum LogFormat: String, Sendable, CaseIterable { case text, json }

/// The log's part of each daemon's configuration; the schema adds it to every daemon.
public struct LogSettings: Sendable, Equatable {
    public var level: Logger.Level
    public var format: LogFormat

    static let levelSetting = Setting(
        "log.level", SettingType<Logger.Level>.choice, default: .info, help: "The least serious records to write")
    static let formatSetting = Setting(
        "log.format", SettingType<LogFormat>.choice, default: .text, help: "One line per record, for people or as JSON")
    static let group = SettingGroup("Log (on standard error)", levelSetting, formatSetting)

    public init(level: Logger.Level = .info, format: LogFormat = .text) {
        self.level = level
        self.format = format
    }

    public init(_ values: ConfigurationValues) {
        self.init(level: values[Self.levelSetting], format: values[Self.formatSetting])
    }
}

/// Sends the log of the whole process through ``LineLogHandler``.
public enum LogBootstrap {
    /// Call once per process, before the first `Logger` is made.
    public static func start(_ settings: LogSettings, output: LogOutput = .standardError) {
        LoggingSystem.bootstrap(
            { label, provider in
                LineLogHandler(label: label, settings: settings, output: output, metadataProvider: provider)
            }, metadataProvider: nil)
    }
}
