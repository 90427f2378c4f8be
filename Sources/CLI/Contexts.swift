import FastableCore
import Foundation

/// The controllers this user logged in to: `~/.config/fastable/cli.json`, or the file that FASTABLE_CLI_CONFIG names.
/// It holds addresses and the paths of token files, never a token.
struct Contexts: Codable {
    struct Context: Codable {
        var url: String
        var tokenFile: String
    }

    var current: String?
    var contexts: [String: Context] = [:]

    static var file: URL {
        let environment = ProcessInfo.processInfo.environment
        if let path = environment["FASTABLE_CLI_CONFIG"] { return URL(fileURLWithPath: path) }
        let base =
            environment["XDG_CONFIG_HOME"].map { URL(fileURLWithPath: $0) }
            ?? (environment["HOME"].map { URL(fileURLWithPath: $0) } ?? FileManager.default.homeDirectoryForCurrentUser)
            .appending(path: ".config")
        return base.appending(path: "fastable/cli.json")
    }

    static func load() throws -> Contexts {
        guard let bytes = try SmallFile.read(file.path, atMost: Limits.configurationFileBytes) else {
            return Contexts()
        }
        do {
            return try JSON.decode(from: Data(bytes))
        } catch {
            throw FastableError(.invalid, "\(file.path) cannot be read. Repair it or log in again after removing it.")
        }
    }

    func save() throws {
        let file = Contexts.file
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try AtomicFile.write(file.path, Array(try JSON.encodePretty(self)))
    }

    /// The controller to talk to: FASTABLE_API_URL with FASTABLE_TOKEN_FILE, else `--context`, FASTABLE_CONTEXT, the current one.
    static func resolve(named name: String?) throws -> Context {
        let environment = ProcessInfo.processInfo.environment
        if name == nil, let url = environment["FASTABLE_API_URL"] {
            guard let tokenFile = environment["FASTABLE_TOKEN_FILE"] else {
                throw FastableError(
                    .invalid,
                    "FASTABLE_API_URL is set, so FASTABLE_TOKEN_FILE must name the file with its token. Set both or neither."
                )
            }
            return Context(url: url, tokenFile: tokenFile)
        }
        let known = try load()
        guard let chosen = name ?? environment["FASTABLE_CONTEXT"] ?? known.current else {
            throw FastableError(
                .unauthenticated,
                "Not logged in. Run: fastable login --url http://127.0.0.1:7420 --token-file FILE (‘make up’ does it for you)"
            )
        }
        guard let context = known.contexts[chosen] else {
            let names = known.contexts.keys.sorted().joined(separator: ", ")
            throw FastableError(
                .notFound,
                "There is no login ‘\(chosen)’. Known: \(names.isEmpty ? "none" : names). To add it: "
                    + "fastable login --name \(chosen) --url URL --token-file FILE")
        }
        return context
    }
}
