import ControllerDomain
import ControllerFleet
import FastableCore
import FastableWire
import FoundationEssentials
import NIOFoundationEssentialsCompat

/// Searches, whose results are told as they are found to those who listen.
extension FileOperations {
    /// A plain `rg` would give other files.
    private static let unlikeRipgrep =
        "Files that .gitignore, .ignore and .rgignore exclude are left out unless asked for. Unlike plain rg it looks into hidden "
        + "files too (never into .git), heeds .gitignore without a repository as well, and a glob never brings back an ignored file."

    var glob: Operation {
        searching(
            "fs.glob",
            .init(
                "Find files by name",
                "Finds files whose path matches a pattern, such as `**/*.ts`, as ripgrep's --glob understands it. "
                    + Self.unlikeRipgrep + " Gives at most \(Limits.globResults) paths, sorted; "
                    + "`truncated` tells that there are more. As events (Accept: text/event-stream) they come as they are found."
            ),
            (.fsGlob, .fsGlobStream), FileGlob.self,
            [
                .required(
                    "pattern", .string("For example `src/**/*.py`.", minimumBytes: 1, maximumBytes: Limits.pathBytes)),
                .optional("path", FileSchemas.path("Search below this directory.")),
                .optional("includeIgnored", FileSchemas.includeIgnored),
                .optional(
                    "limit", .integer(1...Limits.globResults, "Paths to give at most.", default: Limits.globResults)),
            ], FileSchemas.globbed
        ) { (result: inout FileGlobResult, paths: [String]) in result.paths = paths.sorted() }
    }

    var grep: Operation {
        searching(
            "fs.grep",
            .init(
                "Search file contents",
                "Searches the contents of files with ripgrep and gives path, line number and line of each match; at most "
                    + "\(Limits.grepMatches), and `truncated` tells that there are more. "
                    + Self.unlikeRipgrep
                    + " As events (Accept: text/event-stream) matches come as they are found. Fails with "
                    + "timeout after \(Limits.searchSeconds) seconds, and with invalid when the pattern is wrong."
            ),
            (.fsGrep, .fsGrepStream), FileGrep.self,
            [
                .required(
                    "pattern", .string("A regular expression in ripgrep's syntax.", minimumBytes: 1, maximumBytes: 4096)
                ),
                .optional("path", FileSchemas.path("Search this file, or below this directory.")),
                .optional(
                    "glob",
                    .string("Only files whose path matches, for example `*.ts`.", maximumBytes: Limits.pathBytes)),
                .optional("ignoreCase", .boolean("Upper and lower case are the same.", default: false)),
                .optional(
                    "fixedString", .boolean("`pattern` is plain text, not a regular expression.", default: false)),
                .optional("includeIgnored", FileSchemas.includeIgnored),
                .optional(
                    "limit", .integer(1...Limits.grepMatches, "Matches to give at most.", default: Limits.grepMatches)),
            ], FileSchemas.grepped
        ) { (result: inout FileGrepResult, matches: [FileGrepResult.Match]) in result.matches = matches }
    }

    /// A search that the node carries out as it is.
    ///
    /// - Parameter put: puts what was found into the result.
    private func searching<Input: Codable & Sendable, Item: Codable & Sendable, Output: Codable & Sendable>(
        _ name: String, _ words: Operation.Words, _ methods: (whole: NodeMethod, streamed: NodeMethod),
        _ input: Input.Type, _ fields: [JSONSchema.Property], _ answer: JSONSchema,
        put: @escaping @Sendable (inout Output, [Item]) -> Void
    ) -> Operation {
        .onProject(
            name, words, scope: .filesRead, annotations: .reading, input: input, fields: fields, answers: answer,
            note: Self.path
        ) { input, project, context -> Output in
            let placed = try await projects.prepared(project, request: context.requestID, telling: context.events)
            let call = FileCall(project: project.id, arguments: input)
            guard let listener = context.events else {
                return try await placed.client.call(
                    methods.whole, call, returning: Output.self, request: context.requestID,
                    timeout: .seconds(Limits.searchSeconds + Limits.nodeAnswerSeconds))
            }
            let stream = try await placed.client.open(methods.streamed, call, request: context.requestID)
            do {
                var all: [Item] = []
                var told = 0
                while let event = try await stream.next() {
                    guard case .message(let payload) = event else { continue }
                    switch try JSON.decode(FileSearchEvent<Item, Output>.self, from: Data(buffer: payload)) {
                    case .found(let items):
                        guard !items.isEmpty else { continue }
                        try await listener(.found(try items.map(Self.told)))
                        told += items.count
                        guard told <= Limits.globResults else {
                            throw FastableError(.internal, "The node found more than it was asked for.")
                        }
                        if context.collectsFound { all += items }
                    case .finished(var result):
                        put(&result, all)
                        return result
                    }
                }
                throw FastableError(.internal, "The node ended the search without a result. Try again.")
            } catch {
                stream.reset(FastableError(.cancelled, "Nobody wants the rest of the search."))
                throw error
            }
        }
    }

    /// A path is an object too, so that more can be told of it one day.
    private static func told(_ item: some Codable) throws -> JSONValue {
        if let path = item as? String { return ["path": .string(path)] }
        return try JSON.decode(from: try JSON.encode(item))
    }
}
