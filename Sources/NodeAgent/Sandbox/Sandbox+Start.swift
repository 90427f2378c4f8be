import FastableCore
import NodeLinux

/// From the wish for a container to one that answers.
extension Sandbox {
    func bringUp(_ id: ContainerID, _ spec: ContainerSpec) async throws -> Running {
        let limits = try spec.limits.validated()
        var image = try host.images.image(spec.image)
        try await host.checkSpace(for: .start)
        let volume = try await volume()
        // Somebody may have unmounted it since.
        try await openDisk()
        if record.image == spec.image, let rootfs = record.rootfs, Directories.exists(rootfs) {
            // The name may stand for another directory by now; that is for projects made from then on.
            image.rootfs = rootfs
        } else if record.image != spec.image || record.rootfs != nil {
            try resetLayer(volume.paths)
        }
        let sizeBefore = record.spec.limits.diskBytes
        take(spec, limits)
        record.spec.stay = stay
        record.image = spec.image
        record.rootfs = image.rootfs
        host.images.noteUse(of: spec.image)
        record.container = id
        record.process = nil
        try await save()
        if record.spec.limits.diskBytes != sizeBefore { try await openDisk() }
        Task { [disk = host.disk] in await disk.removeDiscarded(volume.paths) }
        let process = try await host.build(record.spec, on: image, as: id, slot: slot)
        do {
            let (container, environment) = try await connect(id, process, volume, isNew: true)
            return Running(
                container: container, process: process, watch: try watch(id, process), imageEnvironment: environment)
        } catch {
            // The steps back must be taken although this task may have been cancelled.
            await Task { _ = await host.dismantle(id, slot: slot, process: process) }.value
            throw error
        }
    }

    /// The container, and the environment that its image sets.
    func connect(
        _ id: ContainerID, _ process: ProcessIdentity, _ volume: ProjectVolume, isNew: Bool = false
    ) async throws -> (RunningContainer, [String: String]) {
        watchLimits(of: id, isNew: isNew)
        let environment = try host.images.image(record.image).environment
        let execs = try await host.connect(
            id, slot: slot, process: process, execs: execStore, activity: activity)
        let container = RunningContainer(
            id: id, volume: volume, execs: execs, accounts: ContainerAccounts(process: process),
            environment: environment.merging(record.spec.environment) { $1 },
            wake: { [weak self] in _ = try await self?.awake() })
        return (container, environment)
    }

    func watch(_ id: ContainerID, _ process: ProcessIdentity) throws -> ExitWatch {
        try ExitWatch(process) { [weak self] in
            Task { await self?.exited(id) }
        }
    }

    /// The changes of the root file system were made on another image and fit to nothing else.
    private func resetLayer(_ project: ProjectPaths) throws {
        for directory in [project.upper, project.work] where Directories.exists(directory) {
            // Nothing can be moved from one disk to another.
            if project.hasDisk {
                try ProjectDisk.discard(directory, of: project)
                continue
            }
            let discarded = try host.trash.discard(directory)
            // What is left of it goes with the next round.
            Task { [host] in try? await host.trash.remove(discarded) }
        }
    }
}
