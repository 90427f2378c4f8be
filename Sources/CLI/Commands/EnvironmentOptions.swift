import ArgumentParser
import FastableCore

/// Variables of a program's environment, as options of a command.
struct EnvironmentOptions: ParsableArguments {
    @Option(
        name: [.customShort("e"), .long],
        help: ArgumentHelp("A variable of its environment; may be repeated.", valueName: "NAME=value"))
    var env: [String] = []

    func validate() throws {
        for entry in env where !entry.contains("=") {
            throw ValidationError("‘--env \(entry)’ is not of the form NAME=value, for example: --env NODE_ENV=test")
        }
    }

    /// `nil` without any; of those with the same name the last one counts.
    var json: JSONValue? {
        guard !env.isEmpty else { return nil }
        let pairs = env.map { entry in
            let parts = entry.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), JSONValue.string(String(parts[1])))
        }
        return .object(Dictionary(pairs) { _, last in last })
    }
}
