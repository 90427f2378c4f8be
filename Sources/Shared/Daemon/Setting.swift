/// One setting of a daemon, declared once: its key, type, default and help text.
///
/// The key gives all its names: `api.certificateFile` is the flag `--api-certificate-file`, the environment variable
/// `FASTABLE_API_CERTIFICATE_FILE`, and `certificateFile:` below `api:` in the file.
public struct Setting<Value: Sendable>: Sendable {
    public let key: String
    public let help: String
    let type: SettingType<Value>
    let absence: Absence

    /// What holds when no source has the setting.
    enum Absence: Sendable {
        case value(Value)
        case derived(String, @Sendable (ConfigurationValues) -> Value)
        case required
    }

    /// A setting with a default.
    public init(_ key: String, _ type: SettingType<Value>, default value: Value, help: String) {
        self.init(key: key, type: type, absence: .value(value), help: help)
    }

    /// A setting whose default follows from settings that stand before it in the schema.
    ///
    /// - Parameter description: the default for the help text: `/var/lib/fastable/<instance>/node`.
    public init(
        _ key: String, _ type: SettingType<Value>, defaultDescription description: String, help: String,
        default derive: @escaping @Sendable (ConfigurationValues) -> Value
    ) {
        self.init(key: key, type: type, absence: .derived(description, derive), help: help)
    }

    /// A setting that must be given.
    public init(required key: String, _ type: SettingType<Value>, help: String) {
        self.init(key: key, type: type, absence: .required, help: help)
    }

    /// A setting that may be left out; its value is `nil` then.
    public init<Wrapped>(optional key: String, _ type: SettingType<Wrapped>, help: String)
    where Value == Wrapped? {
        self.init(key: key, type: type.optional, absence: .value(nil), help: help)
    }

    private init(key: String, type: SettingType<Value>, absence: Absence, help: String) {
        precondition(
            key.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { !$0.isEmpty },
            "‘\(key)’ is not the key of a setting")
        self.key = key
        self.type = type
        self.absence = absence
        self.help = help
    }
}

/// The names of a setting outside the file.
enum SettingName {
    /// `api.certificateFile` → `--api-certificate-file`
    static func flag(_ key: String) -> String {
        var name = "--"
        var previous: Character = "."
        for character in key {
            if character.isUppercase && previous.isLowercase { name.append("-") }
            name.append(character == "." ? "-" : character.lowercased())
            previous = character
        }
        return name
    }

    /// `api.certificateFile` → `FASTABLE_API_CERTIFICATE_FILE`
    static func environment(_ key: String) -> String {
        "FASTABLE_" + flag(key).dropFirst(2).uppercased().replacing("-", with: "_")
    }
}
