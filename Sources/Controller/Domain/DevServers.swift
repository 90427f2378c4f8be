public import FastableCore

/// What is wanted of a project's supervised processes.
extension [SupervisedProcess] {
    /// Makes it run: a new one, one that is known already, or another program under the same name, which takes its place.
    ///
    /// - Parameters:
    ///   - wish: `nil` for the program that is known.
    ///   - isAnew: what runs is ended first.
    /// - Throws: `not_found` for one that is not known, `limit` when there are too many.
    public mutating func start(_ name: String, _ wish: SupervisedProcess?, isAnew: Bool = false) throws {
        guard let index = firstIndex(where: { $0.name == name }) else {
            guard let wish else { throw Self.missing(name) }
            guard count < Limits.supervisedProcesses else {
                throw FastableError(
                    .limit,
                    "A project has at most \(Limits.supervisedProcesses) dev servers. Remove one first: dev_server.stop with ‘forget’."
                )
            }
            append(wish)
            return
        }
        var process = wish ?? self[index]
        process.isWanted = true
        process.generation = self[index].generation
        if isAnew || !self[index].isWanted || !process.runs(like: self[index]) { process.generation += 1 }
        self[index] = process
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
