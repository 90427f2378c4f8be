import FastableCore
import NodeLinux

/// The programs that fetch, unpack and copy images.
enum ImageTool {
    /// Runs one of them to its end. An error says what the program said last: why a registry gives nothing only it knows.
    ///
    /// - Parameter temporary: what it needs meanwhile lies there.
    @discardableResult
    static func run(
        _ tool: String, _ arguments: [String], _ what: String, temporary: String? = nil,
        outputLimit: Int = Limits.hostCommandOutputBytes
    ) async throws -> HostCommand.Result {
        var environment = HostCommand.minimalEnvironment
        if let temporary { environment["TMPDIR"] = temporary }
        let result = try await HostCommand(tool, arguments, environment: environment)
            .run(timeout: .seconds(Limits.imageAddSeconds), outputLimit: outputLimit)
        do { return try result.checked(what) } catch var error as FastableError {
            let words = said(result.errorText)
            // Paths of the host are left out.
            let plain = temporary.map { words.replacing($0, with: "…") } ?? words
            if !plain.isEmpty { error.message += " It said: \(plain.prefix(Limits.toolMessageCharacters))" }
            throw error
        }
    }

    /// The last line; of one in the form of a log its message.
    private static func said(_ text: String) -> String {
        let line = text.split(separator: "\n").last.map(String.init) ?? ""
        guard let start = line.firstRange(of: " msg=\"")?.upperBound, line.hasSuffix("\""), line.endIndex > start else {
            return line
        }
        return String(line[start...].dropLast()).replacing("\\\"", with: "\"")
    }
}
