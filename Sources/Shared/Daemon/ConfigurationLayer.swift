import Configuration

/// One source of values. The layers are asked in order: flags, environment, file.
///
/// The library's `ConfigReader` asks its providers in the same way, but it does not tell which one answered and takes an
/// unreadable value for an absent one. A daemon has to name both.
struct ConfigurationLayer: Sendable {
    enum Kind: Sendable {
        case flags
        case environment
        case file(String)
    }

    enum Answer {
        case absent
        case found(ConfigContent)
        /// There is something, in a form that the setting cannot have.
        case unreadable(String?)
    }

    let kind: Kind
    let snapshot: any ConfigSnapshot

    /// - Parameter values: keys such as `["api", "listen"]`.
    static func flags(_ values: [[String]: ConfigContent]) -> ConfigurationLayer {
        let pairs = values.map { (AbsoluteConfigKey($0.key), ConfigValue($0.value, isSecret: false)) }
        return ConfigurationLayer(
            kind: .flags, snapshot: InMemoryProvider(values: Dictionary(uniqueKeysWithValues: pairs)).snapshot())
    }

    static func environment(_ variables: [String: String]) -> ConfigurationLayer {
        let provider = EnvironmentVariablesProvider(environmentVariables: variables).prefixKeys(with: "fastable")
        return ConfigurationLayer(kind: .environment, snapshot: provider.snapshot())
    }

    func lookup(_ key: String, form: SettingForm) -> Answer {
        let path = AbsoluteConfigKey(key.split(separator: ".").map(String.init))
        let text = (try? snapshot.value(forKey: path, type: .string))?.value?.content.text
        if case .file = kind, let text, ConfigurationFile.isNull(text) { return .absent }
        do {
            guard let value = try snapshot.value(forKey: path, type: form.type).value else { return .absent }
            return .found(value.content)
        } catch {
            return .unreadable(text)
        }
    }

    func source(of key: String) -> ConfigurationSource {
        switch kind {
        case .flags: .flag(SettingName.flag(key))
        case .environment: .environment(SettingName.environment(key))
        case .file(let path): .file(path)
        }
    }
}

/// How the sources deliver a value.
enum SettingForm: Sendable {
    case text, toggle, list

    var type: ConfigType {
        switch self {
        case .text: .string
        case .toggle: .bool
        case .list: .stringArray
        }
    }
}

extension ConfigContent {
    var text: String? { if case .string(let text) = self { text } else { nil } }
}
