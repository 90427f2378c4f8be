import FastableCore
import NodeLinux

/// Everything on the host that carries the instance's name.
extension SandboxHost {
    func inventory() async throws -> Set<HostThing> {
        let known = Directories.names(paths.containers)
        // Its directory tells what the runtime has, without a process.
        let ofRuntime = Directories.names(paths.runtime).isEmpty ? [] : try await runtime.list().map(\.container)
        return try await BlockingPool.shared.run { [self] in
            var things = Set((known.compactMap { ContainerID($0) } + ofRuntime).map(HostThing.container))
            for name in cgroups.children(of: group) { things.insert(thing(ofGroup: name)) }
            for name in network.interfaces(of: block) { things.insert(.link(name)) }
            for point in try Mounts.below(paths.containers) {
                guard let id = Self.part(of: point, below: paths.containers).flatMap({ ContainerID($0) }) else {
                    continue
                }
                things.insert(.rootMount(point: point, container: id))
            }
            for point in try ProjectDisk.mounted(below: paths.projects) {
                things.insert(.disk(point: point, project: Self.part(of: point, below: paths.projects)))
            }
            for point in try ProjectDisk.mounted(below: paths.trash) {
                things.insert(.disk(point: point, project: nil))
            }
            for device in try ProjectDisk.idleDevices(paths) { things.insert(.device(device)) }
            for name in images.unregistered() { things.insert(.imageDirectory(name)) }
            return things
        }
    }

    private func thing(ofGroup name: String) -> HostThing {
        if let id = ContainerID(name) { return .container(id) }
        if let project = Self.project(ofSearches: name) { return .searches(project) }
        return .group(name)
    }

    /// The name directly below a directory.
    private static func part(of path: String, below directory: String) -> String? {
        path.dropFirst(directory.count + 1).split(separator: "/").first.map(String.init)
    }

    /// Removes what belongs to no container and no project of the node. Whose link it is, and whose container, the caller knows.
    func remove(_ thing: HostThing) async throws {
        switch thing {
        case .container(let id): await dismantle(id, slot: nil, process: nil)
        case .searches(let project): await removeSearchGroup(of: project)
        case .group(let name): try await removeGroup(name)
        case .link(let name): try await network.detach(interface: name)
        case .disk(let point, _), .rootMount(let point, _):
            try await BlockingPool.shared.run { try Mounts.remove(point) }
        case .device(let device): try await BlockingPool.shared.run { try LoopVolume.free(device) }
        case .imageDirectory(let name): try await images.removeUnregistered([name])
        }
    }

    /// What runs in a group of another name was put there by somebody.
    private func removeGroup(_ name: String) async throws {
        let path = "\(group)/\(name)"
        try await BlockingPool.shared.run { [cgroups] in
            guard cgroups.isEmpty(path) else { return }
            try cgroups.remove(path)
        }
    }
}
