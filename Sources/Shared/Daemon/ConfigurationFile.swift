import Configuration
import FastableCore
import Synchronization

/// The configuration file, YAML or JSON: JSON is a subset of YAML, so one parser reads both.
struct ConfigurationFile {
    /// Every key in the file, dotted, in no particular order.
    let keys: [String]
    let layer: ConfigurationLayer

    /// - Returns: `nil` when there is no such file.
    /// - Throws: `invalid` when it is not YAML or gives a key twice; what the system says when it cannot be read.
    static func read(_ path: String) throws -> ConfigurationFile? {
        guard let bytes = try SmallFile.read(path, atMost: Limits.configurationFileBytes) else { return nil }
        return try parse(bytes, path: path)
    }

    static func parse(_ bytes: [UInt8], path: String) throws -> ConfigurationFile {
        guard hasContent(bytes) else { return ConfigurationFile(keys: [], layer: .flags([:])) }
        let seen = Mutex<[String]>([])
        // The library asks the secrets specifier about each key that it finds. This is how unknown keys are noticed.
        let options = YAMLSnapshot.ParsingOptions(
            secretsSpecifier: .dynamic { key, _ in
                seen.withLock { $0.append(key) }
                return true
            })
        let snapshot: YAMLSnapshot
        do {
            snapshot = try YAMLSnapshot(data: bytes.span.bytes, providerName: path, parsingOptions: options)
        } catch {
            // Only the first line: the ones after it repeat the file's text, which may hold secrets.
            let reason = "\(error)".split(separator: "\n").first.map(String.init) ?? "unreadable"
            throw FastableError(.invalid, "The configuration file ‘\(path)’ is not valid YAML or JSON: \(reason)")
        }
        let keys = seen.withLock { $0 }
        var once: Set<String> = []
        if let twice = keys.first(where: { !once.insert($0).inserted }) {
            throw FastableError(.invalid, "The configuration file ‘\(path)’ gives ‘\(twice)’ twice. Remove one.")
        }
        return ConfigurationFile(keys: keys, layer: ConfigurationLayer(kind: .file(path), snapshot: snapshot))
    }

    /// A key without a value is the same as no key.
    static func isNull(_ text: String) -> Bool { ["", "~", "null", "Null", "NULL"].contains(text) }

    /// Checks that each key is a setting's.
    ///
    /// - Throws: `invalid` naming the first unknown key, the nearest known one, or that it is a section.
    func check(against known: [String], path: String) throws {
        for key in keys.sorted() where !known.contains(key) {
            let below = known.filter { $0.hasPrefix(key + ".") }
            if let example = below.first {
                guard case .absent = layer.lookup(key, form: .text) else {
                    throw FastableError(
                        .invalid,
                        "‘\(key)’ in ‘\(path)’ is a section: put its settings below it, for example ‘\(example)’.",
                        details: ["setting": .string(key)])
                }
                continue
            }
            throw FastableError(
                .invalid,
                "The configuration file ‘\(path)’ has the unknown setting ‘\(key)’."
                    + NearestName.hint(for: key, among: known),
                details: ["setting": .string(key)])
        }
    }

    private static func hasContent(_ bytes: [UInt8]) -> Bool {
        String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).contains { line in
            let text = line.drop { $0 == " " || $0 == "\t" }
            return !(text.isEmpty || text.hasPrefix("#") || text == "---")
        }
    }
}
