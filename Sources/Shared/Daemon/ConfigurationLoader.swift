import FastableCore

/// What the command line asks of a daemon.
public enum ConfigurationOutcome: Sendable {
    /// To run with these values.
    case run(ConfigurationValues)
    /// To print this text on standard output and leave: help, version, or the configuration.
    case print(String)
}

/// Reads a daemon's configuration: command line, then environment, then file, then the defaults.
public struct ConfigurationLoader: Sendable {
    private let schema: ConfigurationSchema
    private let arguments: [String]
    private let environment: [String: String]
    private let defaultFile: String

    /// - Parameters:
    ///   - arguments: without the program's name.
    ///   - defaultFile: read when it is there and neither `--config` nor `FASTABLE_CONFIG` names another;
    ///     ``ConfigurationSchema/defaultFile`` when left out.
    public init(
        schema: ConfigurationSchema, arguments: [String], environment: [String: String], defaultFile: String? = nil
    ) {
        self.schema = schema
        self.arguments = arguments
        // An empty variable counts as not set: files of systemd units cannot unset one.
        self.environment = environment.filter { !$0.value.isEmpty }
        self.defaultFile = defaultFile ?? schema.defaultFile
    }

    /// - Throws: `FastableError` with one sentence that names the flag, key or setting and what is expected.
    public func load() throws -> ConfigurationOutcome {
        let settings = schema.settings
        let flags = try CommandLineFlags(arguments, settings: settings)
        switch flags.request {
        case .help: return .print(ConfigurationText.help(schema))
        case .version: return .print("\(schema.program) \(schema.version)\n")
        case .run, .printConfiguration: break
        }
        var layers = [ConfigurationLayer.flags(flags.values), .environment(environment)]
        if let file = try file(named: flags.configurationFile ?? environment["FASTABLE_CONFIG"]) {
            layers.append(file)
        }
        var values = ConfigurationValues()
        for setting in settings { values.append(try setting.resolve(layers, values)) }
        return flags.request == .run ? .run(values) : .print(ConfigurationText.listing(values, of: schema))
    }

    private func file(named wanted: String?) throws -> ConfigurationLayer? {
        let path = wanted ?? defaultFile
        guard let file = try ConfigurationFile.read(path) else {
            guard wanted == nil else {
                throw FastableError(.notFound, "There is no configuration file ‘\(path)’.")
            }
            return nil
        }
        try file.check(against: schema.settings.map(\.key), path: path)
        return file.layer
    }
}
