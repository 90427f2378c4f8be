import FastableCore
import Logging
import NodeLinux

/// What is on the host is compared with what should be there, again and again: nobody has to notice how it came to be.
extension SandboxManager {
    /// Removes what has belonged to nothing since the call before. Call it every minute.
    public func sweepGarbage() async {
        guard !isClosed else { return }
        do {
            // What is found first and known later is nobody's mistake: it was being made.
            let found = try await host.inventory()
            let orphans = garbage.looked(found: found, known: await knownThings())
            for orphan in orphans.sorted(by: { $0.description < $1.description }) {
                guard !isClosed else { return }
                await remove(orphan)
            }
        } catch {
            logger.warning("the host cannot be searched for what nobody needs", metadata: ["error": "\(error)"])
        }
    }

    private func knownThings() async -> KnownThings {
        var known = KnownThings()
        known.containers = Set(host.remains.all)
        known.directories = Set(Directories.names(host.paths.projects))
        for sandbox in Array(sandboxes.values) {
            let facts = await sandbox.hostFacts
            if let container = facts.container {
                known.containers.insert(container)
                known.links.insert(sandbox.slot.interface)
                if facts.isBeginning { known.beginning.insert(container) }
            }
            known.images.formUnion(facts.images)
        }
        for (project, sandbox) in sandboxes {
            known.projects.insert(project)
            known.directories.insert(host.paths.project(sandbox.project).name)
        }
        return known
    }

    private func remove(_ orphan: HostThing) async {
        logger.notice("removing what belongs to nothing", metadata: ["what": "\(orphan)"])
        do {
            switch orphan {
            case .container(let id): try await remove(id, slot: host.paths.container(id).slot(of: host.block))
            case .link(let name):
                let slots = (0..<Limits.projectsPerNode).lazy.compactMap { [block = host.block] in try? block.slot($0) }
                guard let slot = slots.first(where: { $0.interface == name }) else {
                    return try await host.remove(orphan)
                }
                try await remove(nil, slot: slot)
            case .searches, .group, .disk, .rootMount, .device, .imageDirectory: try await host.remove(orphan)
            }
        } catch {
            logger.warning(
                "what belongs to nothing could not be removed",
                metadata: ["what": "\(orphan)", "error": "\(error)"])
        }
    }

    /// With a slot goes its link, so nobody may begin to use the slot meanwhile: the project that has it is asked, and others do not get it.
    private func remove(_ container: ContainerID?, slot: Slot?) async throws {
        guard let slot else {
            if let container { await host.dismantle(container, slot: nil, process: nil) }
            return
        }
        if let owner = sandboxes.values.first(where: { $0.slot == slot }) {
            return await owner.removeStray(container)
        }
        sweptSlots.insert(slot.index)
        defer { sweptSlots.remove(slot.index) }
        if let container {
            await host.dismantle(container, slot: slot, process: nil)
        } else {
            try await host.network.detach(slot)
        }
    }

    /// At the start: what a crash left of images that were being added or removed.
    func removeUnregisteredImages() async {
        do {
            let used = await knownThings().images
            try await host.images.removeUnregistered(
                try await BlockingPool.shared.run { [host] in host.images.unregistered() }.subtracting(used))
        } catch {
            logger.error("unfinished images cannot be removed", metadata: ["error": "\(error)"])
        }
    }
}

extension Sandbox {
    struct HostFacts: Sendable {
        var container: ContainerID?
        var isBeginning: Bool
        var images: Set<String>
    }

    /// What the host has for this project.
    var hostFacts: HostFacts {
        let ofRoot = record.rootfs.flatMap { path -> String? in
            let prefix = host.images.directory + "/"
            guard path.hasPrefix(prefix) else { return nil }
            return path.dropFirst(prefix.count).split(separator: "/").first.map(String.init)
        }
        return HostFacts(
            // One that is being deleted with its project is on its way out.
            container: machine.container ?? (machine.publicState == .deleting ? record.container : nil),
            isBeginning: machine.publicState == .creating,
            images: Set([record.image, ofRoot].compactMap(\.self)))
    }

    /// Removes an incarnation that is not the present one, or only the link of none. A container that is started meanwhile waits for that.
    func removeStray(_ container: ContainerID?) async {
        guard machine.container != container || container == nil else { return }
        // The link is that of the container which runs.
        guard machine.container == nil else {
            if let container { await host.dismantle(container, slot: nil, process: nil) }
            return
        }
        let step = Task { [previous = removal, host, slot, logger] in
            await previous?.value
            guard let container else {
                do { try await host.network.detach(slot) } catch {
                    logger.warning("a link could not be removed", metadata: ["error": "\(error)"])
                }
                return
            }
            await host.dismantle(container, slot: slot, process: nil)
        }
        removal = step
        await step.value
    }
}
