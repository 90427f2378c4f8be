import FastableCore

/// A setting whose type the schema has forgotten: what the help, the command line and the loader need of it.
struct AnySetting: Sendable {
    let key: String
    let help: String
    let form: SettingForm
    let placeholder: String
    /// For the help: the default, or that there is none.
    let absenceText: String
    /// Asks the sources in order and gives the value with its origin.
    let resolve: @Sendable ([ConfigurationLayer], ConfigurationValues) throws -> ConfigurationEntry

    var components: [String] { key.split(separator: ".").map(String.init) }

    init<Value>(_ setting: Setting<Value>) {
        key = setting.key
        help = setting.help
        form = setting.type.form
        placeholder = setting.type.placeholder
        absenceText = setting.absenceText
        resolve = { layers, earlier in try setting.resolve(in: layers, after: earlier) }
    }
}

extension Setting {
    fileprivate var absenceText: String {
        switch absence {
        case .required: "required"
        case .derived(let description, _): "default: \(description)"
        case .value(let value):
            switch type.print(value) {
            case .nothing: "not set by default"
            case .redacted: "default: ‹redacted›"
            case .text(let text): "default: \(text)"
            case .list(let texts): "default: \(texts.isEmpty ? "none" : texts.joined(separator: ","))"
            }
        }
    }

    fileprivate func resolve(
        in layers: [ConfigurationLayer], after earlier: ConfigurationValues
    ) throws -> ConfigurationEntry {
        for layer in layers {
            switch layer.lookup(key, form: type.form) {
            case .absent: continue
            case .found(let content):
                if let value = type.parse(content) { return entry(value, from: layer.source(of: key)) }
                throw mismatch(content.text, from: layer.source(of: key))
            case .unreadable(let text):
                throw mismatch(text, from: layer.source(of: key))
            }
        }
        switch absence {
        case .value(let value): return entry(value, from: .default)
        case .derived(_, let derive): return entry(derive(earlier), from: .default)
        case .required:
            throw FastableError(
                .invalid,
                "The setting ‘\(key)’ is missing. Give \(SettingName.flag(key)), or \(SettingName.environment(key)) in "
                    + "the environment, or ‘\(key)’ in the configuration file.",
                details: ["setting": .string(key)])
        }
    }

    private func entry(_ value: Value, from source: ConfigurationSource) -> ConfigurationEntry {
        ConfigurationEntry(key: key, box: ValueBox(value), printed: type.print(value), source: source)
    }

    private func mismatch(_ text: String?, from source: ConfigurationSource) -> FastableError {
        let found = text.flatMap { type.isSecret ? nil : ", not ‘\($0)’" } ?? ""
        return .setting(key, from: source, "must be \(type.expected)\(found)")
    }
}

extension FastableError {
    /// What is wrong with a setting, in one sentence that names it and where its value stands.
    static func setting(_ key: String, from source: ConfigurationSource, _ problem: String) -> FastableError {
        FastableError(.invalid, "The setting ‘\(key)’ (\(source)) \(problem).", details: ["setting": .string(key)])
    }
}
