public import FastableCore
public import FoundationEssentials
import Logging
import NodeLinux

/// A disk that becomes full is met before it is full.
extension SandboxManager {
    /// How short of space the node's disk is now. Blocks.
    public nonisolated func lookAtDisk() -> DiskPressure { host.space.look() }

    /// What was dropped for want of space since the start; `nil` when nothing was.
    public nonisolated var diskReclaimed: DiskReclaimed? {
        let reclaimed = host.space.reclaimed
        return reclaimed == DiskReclaimed() ? nil : reclaimed
    }

    /// The controller says which images may not be dropped.
    ///
    /// - Parameter asked: when the node asked for what was answered with it.
    public nonisolated func heard(imagesInUse images: [String], asked: ContinuousClock.Instant) {
        host.space.heard(imagesInUse: images, asked: asked)
    }

    /// Throws `unavailable` when there is too little space for one more image.
    public func checkSpaceForImage() async throws { try await host.checkSpace(for: .image) }

    /// Drops what can be had again, one after the other, for as long as there is too little space. Call it every few seconds.
    public func makeRoom(_ moment: ContinuousClock.Instant = .now, today: Date = Date()) async {
        guard !isClosed, await pressure() >= .reclaiming else { return }
        let steps = await reclaim().steps(
            inUse: host.space.imagesInUse(now: moment), usedHere: await imagesUsedHere(),
            isPatient: host.space.isPatient(at: moment), now: today)
        for step in steps {
            guard !isClosed else { return }
            await carryOut(step, moment)
            if await pressure() < .reclaiming { return }
        }
        if !host.space.isPatient(at: moment) { host.space.isAtItsEnd() }
    }

    private func pressure() async -> DiskPressure {
        (try? await BlockingPool.shared.run { [host] in host.space.look() }) ?? host.space.pressure
    }

    private func reclaim() async -> DiskReclaim {
        let images = (try? await BlockingPool.shared.run { [host] in try host.images.resting() }) ?? []
        var caches: [DiskReclaim.Cache] = []
        for sandbox in Array(sandboxes.values) {
            guard let since = await sandbox.cacheRestsSince else { continue }
            caches.append(DiskReclaim.Cache(project: sandbox.project, restingSince: since))
        }
        return DiskReclaim(images: images, caches: caches)
    }

    private func imagesUsedHere() async -> Set<String> {
        var names: Set<String> = []
        for sandbox in Array(sandboxes.values) { names.insert(await sandbox.image) }
        return names
    }

    private func carryOut(_ step: DiskReclaim.Step, _ moment: ContinuousClock.Instant) async {
        do {
            switch step {
            case .image(let name):
                // Somebody may have begun to use it, here or elsewhere, while others were removed.
                guard host.space.imagesInUse(now: moment)?.contains(name) == false,
                    await !imagesUsedHere().contains(name)
                else { return }
                try await host.images.drop(name)
                host.space.dropped(image: name)
            case .cache(let project):
                guard let sandbox = sandboxes[project], try await sandbox.dropCache() else { return }
                host.space.droppedCache(of: project)
            }
        } catch {
            logger.error(
                "something could not be dropped from the full disk",
                metadata: ["what": "\(step)", "error": "\(error)"])
        }
    }
}

extension Sandbox {
    /// Since when its cache is of no use to anybody; `nil` while it is.
    var cacheRestsSince: Date? {
        guard volumeMade, !isDeleted, !isLeaving, machine.container == nil, machine.publicState != .deleting else {
            return nil
        }
        return record.changedAt ?? .distantPast
    }

    /// Empties `/cache`. A container that is started meanwhile waits for that, and has an empty one.
    ///
    /// - Returns: `false` when there was nothing, or it is used.
    func dropCache() async throws -> Bool {
        guard cacheRestsSince != nil else { return false }
        let paths = host.paths.project(project)
        let step = Task { [previous = removal, host, slot, directory] () -> DroppedCache in
            await previous?.value
            return try await BlockingPool.shared.run {
                var dropped = DroppedCache.none
                try directory.write {
                    guard !Directories.isEmpty(paths.cache) else { return }
                    if paths.hasDisk {
                        try ProjectDisk.discard(paths.cache, of: paths)
                        dropped = .onItsDisk
                    } else {
                        dropped = .inTrash(try host.trash.discard(paths.cache))
                    }
                    try Directories.makeOnce(paths.cache, owner: slot.uidBase)
                }
                return dropped
            }
        }
        removal = Task { _ = await step.result }
        switch try await step.value {
        case .none: return false
        case .onItsDisk: await host.disk.removeDiscarded(paths)
        case .inTrash(let path): try await host.trash.remove(path)
        }
        return true
    }

    private enum DroppedCache {
        case none
        case onItsDisk
        case inTrash(String)
    }
}
