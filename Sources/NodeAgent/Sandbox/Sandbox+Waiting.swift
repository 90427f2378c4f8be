import FastableCore

/// Who waits for a container that is being started.
extension Sandbox {
    /// Told how far the container is, again and again; throws when nobody hears that.
    typealias StartListener = @Sendable (StartProgress) async throws -> Void

    /// How far it is on its way; `nil` when it is not being started.
    var startProgress: StartProgress? {
        guard case .creating(let id, _, let pulls) = machine.state else { return nil }
        if let place = host.starts.place(of: id) { return StartProgress(.waiting, place.text) }
        if pulls, let progress = wantedImage.flatMap({ host.images.pullProgress(of: $0) }) { return progress }
        return StartProgress(.starting, machine.reason)
    }

    /// Its start has not begun: nothing has to be taken back.
    private func isWaiting(_ id: ContainerID) -> Bool {
        if case .creating(id, _, true) = machine.state { return true }
        return host.starts.place(of: id) != nil
    }

    /// What becomes of a start that is under way. When all who wait for it have gone before its turn came, it is given up.
    func result(
        of start: Task<RunningContainer, any Error>, _ id: ContainerID, telling listener: StartListener?
    ) async throws -> RunningContainer {
        lastWaiter += 1
        let waiter = lastWaiter
        startWaiters.insert(waiter)
        let teller = listener.map { listener in Task { await tellProgress(of: id, to: listener, for: waiter) } }
        defer { teller?.cancel() }
        return try await withTaskCancellationHandler {
            try await start.value
        } onCancel: {
            Task { await leave(waiter, id) }
        }
    }

    private func tellProgress(of id: ContainerID, to listener: StartListener, for waiter: Int) async {
        while true {
            try? await Task.sleep(for: .milliseconds(Limits.startLookMilliseconds))
            guard !Task.isCancelled else { return }
            guard machine.container == id, let progress = startProgress else { continue }
            do { try await listener(progress) } catch { return leave(waiter, id) }
        }
    }

    private func leave(_ waiter: Int, _ id: ContainerID) {
        guard startWaiters.remove(waiter) != nil, startWaiters.isEmpty, isWaiting(id) else { return }
        giveUp(id)
    }

    private func giveUp(_ id: ContainerID) {
        machine.givenUp(id, reason: "Whoever needed it had gone before it was its turn to be started.")
        start?.cancel()
        watchDeadline()
        saveLater()
    }

    /// Returns once the node has the image. No turn is held meanwhile: whatever pulls it, others start.
    func waitForImage(_ id: ContainerID, _ spec: ContainerSpec) async throws {
        guard let wish = spec.pull, try !host.images.has(wish.name) else { return }
        if startWaiters.isEmpty { giveUp(id) }
        try Task.checkCancellation()
        try await host.checkSpace(for: .image)
        wantedImage = wish.name
        machine.pulling(id, now: .now)
        watchDeadline()
        try await host.images.pull(wish)
        machine.pulled(id, now: .now)
        watchDeadline()
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
