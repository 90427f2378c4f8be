public import FastableCore

/// What is wanted of a project's supervised processes.
extension [SupervisedProcess] {
    /// Makes it run: a new one, one that is known already, or another program under the same name, which takes its place.
    ///
    /// - Parameters:
    ///   - wish: `nil` for the program that is known.
    ///   - isAnew: what runs is ended first.
    ///   - revision: of the settings from here on, which no earlier ones had.
    /// - Throws: `not_found` for one that is not known, `limit` and `too_large` when there is too much.
    public mutating func start(
        _ name: String, _ wish: SupervisedProcess?, isAnew: Bool = false, revision: Int
    ) throws {
        guard let index = firstIndex(where: { $0.name == name }) else {
            guard let wish else { throw Self.missing(name) }
            guard count < Limits.supervisedProcesses else {
                throw FastableError(
                    .limit,
                    "A project has at most \(Limits.supervisedProcesses) dev servers. Remove one first: dev_server.stop with ‘forget’."
                )
            }
            var process = wish
            process.generation = revision
            append(process)
            return try checkSize()
        }
        var process = wish ?? self[index]
        process.isWanted = true
        process.generation = self[index].generation
        if isAnew || !self[index].isWanted || !process.runs(like: self[index]) { process.generation = revision }
        self[index] = process
        try checkSize()
    }

    private func checkSize() throws {
        // As text within the text of a message.
        let text = try JSON.encode(String(decoding: try JSON.encode(self), as: UTF8.self))
        guard text.count <= Limits.supervisedBytes else {
            throw FastableError(
                .tooLarge,
                "The commands and variables of a project's dev servers have at most \(Limits.supervisedBytes) bytes in all. Write a script "
                    + "with fs.write and run that.")
        }
    }

    /// - Parameter forgets: it cannot be started again by its name.
    /// - Throws: `not_found` for one that is not known.
    public mutating func stop(_ name: String, forgets: Bool) throws {
        guard let index = firstIndex(where: { $0.name == name }) else { throw Self.missing(name) }
        if forgets { remove(at: index) } else { self[index].isWanted = false }
    }

    private static func missing(_ name: String) -> FastableError {
        FastableError(
            .notFound, "There is no dev server ‘\(name)’. Start it with its command, or look at dev_server.list.")
    }
}
