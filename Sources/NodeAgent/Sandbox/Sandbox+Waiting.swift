import FastableCore

/// Who waits for a container that is being started.
extension Sandbox {
    /// Told where the container waits for its turn, again and again; throws when nobody hears that.
    typealias PlaceListener = @Sendable (StartPlace) async throws -> Void

    /// What becomes of a start that is under way. When all who wait for it have gone before its turn came, it is given up.
    func result(
        of start: Task<RunningContainer, any Error>, _ id: ContainerID, telling listener: PlaceListener?
    ) async throws -> RunningContainer {
        lastWaiter += 1
        let waiter = lastWaiter
        startWaiters.insert(waiter)
        let teller = listener.map { listener in Task { await tellPlaces(of: id, to: listener, for: waiter) } }
        defer { teller?.cancel() }
        return try await withTaskCancellationHandler {
            try await start.value
        } onCancel: {
            Task { await leave(waiter, id) }
        }
    }

    private func tellPlaces(of id: ContainerID, to listener: PlaceListener, for waiter: Int) async {
        while true {
            try? await Task.sleep(for: .milliseconds(Limits.startLookMilliseconds))
            guard !Task.isCancelled else { return }
            guard let place = host.starts.place(of: id) else { continue }
            do { try await listener(place) } catch { return leave(waiter, id) }
        }
    }

    private func leave(_ waiter: Int, _ id: ContainerID) {
        guard startWaiters.remove(waiter) != nil, startWaiters.isEmpty, host.starts.place(of: id) != nil else { return }
        giveUp(id)
    }

    private func giveUp(_ id: ContainerID) {
        machine.givenUp(id, reason: "Whoever needed it had gone before it was its turn to be started.")
        start?.cancel()
        watchDeadline()
        saveLater()
    }

    /// Returns when it is this container's turn. The time that its start may take counts from then on.
    func waitForTurn(_ id: ContainerID, _ spec: ContainerSpec) async throws {
        if startWaiters.isEmpty { giveUp(id) }
        try Task.checkCancellation()
        // The limits have not been checked yet.
        let memory = max(0, Double(spec.limits.memoryBytes) * Limits.startMemoryShare)
        try await host.starts.enter(
            StartQueue.Wish(container: id, workspace: spec.workspace, memoryBytes: Int(memory)))
        machine.admitted(id, now: .now)
        watchDeadline()
    }
}
