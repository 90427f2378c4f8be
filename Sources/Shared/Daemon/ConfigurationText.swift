/// The texts that are generated from a schema: `--help` and `--print-config`.
enum ConfigurationText {
    private static let width = 100

    // MARK: help

    static func help(_ schema: ConfigurationSchema) -> String {
        var lines = ["\(schema.program) \(schema.version)", ""]
        lines += wrap(schema.summary, indent: 0)
        lines += ["", "Usage: \(schema.program) [--config FILE] [SETTINGS]", ""]
        lines += wrap(
            "Each setting can be a flag, an environment variable or a key of the configuration file (YAML or JSON). "
                + "A flag wins over the environment, the environment over the file, the file over the default.",
            indent: 0)
        lines += ["", "General:"]
        lines += item(
            "--config FILE",
            "The configuration file (environment: FASTABLE_CONFIG; default: \(schema.defaultFile) when it is there)")
        lines += item("--print-config", "Print the whole configuration and where each value comes from")
        lines += item("--version", "Print the version")
        lines += item("--help, -h", "Print this text")
        for group in schema.groups {
            lines += ["", "\(group.title):"]
            for setting in group.settings {
                let flag = SettingName.flag(setting.key)
                let names = "environment: \(SettingName.environment(setting.key)); file: \(setting.key)"
                lines += item(
                    setting.placeholder.isEmpty ? flag : "\(flag) \(setting.placeholder)",
                    "\(setting.help) (\(setting.absenceText); \(names))")
            }
        }
        if !schema.examples.isEmpty { lines += ["", "Examples:"] }
        for example in schema.examples { lines += item(example.command, example.purpose) }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func item(_ head: String, _ text: String) -> [String] { ["  " + head] + wrap(text, indent: 6) }

    static func wrap(_ text: String, indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var line = ""
        for word in text.split(separator: " ") {
            if !line.isEmpty && indent + line.count + 1 + word.count > width {
                lines.append(margin + line)
                line = ""
            }
            line += line.isEmpty ? String(word) : " \(word)"
        }
        return lines + (line.isEmpty ? [] : [margin + line])
    }

    // MARK: --print-config

    /// YAML that can be used as a configuration file; secrets are left out.
    static func listing(_ values: ConfigurationValues, of schema: ConfigurationSchema) -> String {
        let entries = values.entries.map { (path: $0.key.split(separator: ".").map(String.init)[...], entry: $0) }
        return (["# \(schema.program) \(schema.version)"] + listing(entries, indent: 0)).joined(separator: "\n") + "\n"
    }

    private typealias Located = (path: ArraySlice<String>, entry: ConfigurationEntry)

    private static func listing(_ entries: [Located], indent: Int) -> [String] {
        let margin = String(repeating: " ", count: indent)
        var lines: [String] = []
        var done: Set<String> = []
        for (path, entry) in entries {
            guard let name = path.first, done.insert(name).inserted else { continue }
            if path.count == 1 {
                lines.append(margin + line(name, entry))
            } else {
                let members = entries.filter { $0.path.first == name }.map { ($0.path.dropFirst(), $0.entry) }
                lines += ["\(margin)\(name):"] + listing(members, indent: indent + 2)
            }
        }
        return lines
    }

    private static func line(_ name: String, _ entry: ConfigurationEntry) -> String {
        switch entry.printed {
        case .nothing: "\(name):  # not set"
        case .redacted: "\(name):  # ‹redacted›, \(entry.source)"
        case .text(let text): "\(name): \(scalar(text))  # \(entry.source)"
        case .list(let texts): "\(name): [\(texts.map(scalar).joined(separator: ", "))]  # \(entry.source)"
        }
    }

    /// A text as a YAML scalar, quoted unless it is plain without doubt.
    private static func scalar(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"):
                true
            // Not at the end, where a colon would make a mapping of the word.
            case UInt8(ascii: ":"), UInt8(ascii: "-"): text.utf8.last != byte && text.utf8.first != byte
            default: false
            }
        }
        guard !isPlain || ConfigurationFile.isNull(text) else { return text }
        return "\"" + LogText.escape(text, quoting: true) + "\""
    }
}
