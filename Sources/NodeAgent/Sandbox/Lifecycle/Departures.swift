import FastableCore

/// Projects that this run of the daemon has given up, with the stay that ended so: a call that was on its way makes none anew. The
/// first one is forgotten first.
struct Departures: Sendable {
    private var stays: [ProjectID: Int] = [:]
    private var order: [ProjectID] = []
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    mutating func note(_ project: ProjectID, stay: Int) {
        if stays[project] == nil { order.append(project) }
        stays[project] = max(stay, stays[project] ?? stay)
        if order.count > limit { stays[order.removeFirst()] = nil }
    }

    /// Throws `unavailable` for a stay that has ended: who asks did not know yet, and knows when it asks again.
    func check(_ project: ProjectID, stay: Int) throws(FastableError) {
        guard let ended = stays[project], stay <= ended else { return }
        throw FastableError(.unavailable, "The project was just archived. Try again.", retryAfterSeconds: 1)
    }
}
