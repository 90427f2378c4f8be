import Configuration
import FastableCore

/// The arguments of a daemon: its settings as flags, and four flags that every daemon has.
///
/// The library's own reader of arguments ignores flags that nobody asks for; a mistyped flag of a daemon must not be
/// ignored, so they are read here.
struct CommandLineFlags {
    enum Request: Equatable {
        case run, help, version, printConfiguration
    }

    static let common = ["--config", "--print-config", "--help", "--version"]

    var request = Request.run
    var configurationFile: String?
    var values: [[String]: ConfigContent] = [:]

    /// - Parameter arguments: without the program's name.
    /// - Throws: `invalid` naming the argument, with the nearest flag for an unknown one.
    init(_ arguments: [String], settings: [AnySetting]) throws {
        let byFlag = Dictionary(uniqueKeysWithValues: settings.map { (SettingName.flag($0.key), $0) })
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let (flag, attached) = (parts.first ?? "", parts.dropFirst().first)
            switch flag {
            case "--help", "-h": request = .help
            case "--version": request = request == .help ? .help : .version
            case "--print-config": request = request == .run ? .printConfiguration : request
            case "--config": configurationFile = try Self.value(of: flag, attached, &rest)
            default:
                guard let setting = byFlag[flag] else {
                    throw Self.unknown(argument, flag: flag, known: Self.common + byFlag.keys.sorted())
                }
                try take(setting, flag, attached, &rest)
            }
        }
    }

    private mutating func take(
        _ setting: AnySetting, _ flag: String, _ attached: String?, _ rest: inout ArraySlice<String>
    ) throws {
        switch setting.form {
        case .text:
            values[setting.components] = .string(try Self.value(of: flag, attached, &rest))
        case .toggle:
            // The bare flag never takes the next argument, so that `--x false` is not read as ‘x is on’ in silence.
            guard let value = Bool(attached ?? "true") else {
                throw FastableError(
                    .invalid, "\(flag) must be true or false, not ‘\(attached ?? "")’.",
                    details: ["setting": .string(setting.key)])
            }
            values[setting.components] = .bool(value)
        case .list:
            let texts = try Self.value(of: flag, attached, &rest).split(separator: ",").map(String.init)
            if case .stringArray(let earlier) = values[setting.components] {
                values[setting.components] = .stringArray(earlier + texts)
            } else {
                values[setting.components] = .stringArray(texts)
            }
        }
    }

    private static func value(
        of flag: String, _ attached: String?, _ rest: inout ArraySlice<String>
    ) throws -> String {
        if let attached { return attached }
        guard let next = rest.first, !next.hasPrefix("--") else {
            throw FastableError(.invalid, "\(flag) needs a value: \(flag) VALUE")
        }
        rest.removeFirst()
        return next
    }

    private static func unknown(_ argument: String, flag: String, known: [String]) -> FastableError {
        guard argument.hasPrefix("-") else {
            return FastableError(
                .invalid, "Unexpected argument ‘\(argument)’. Settings are given as --name VALUE; see --help.")
        }
        return FastableError(
            .invalid, "Unknown flag ‘\(flag)’.\(NearestName.hint(for: flag, among: known)) See --help.")
    }
}
