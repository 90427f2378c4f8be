package import FastableCore
package import NodeLinux

/// Something of the instance on its host.
package enum HostThing: Hashable, Sendable, CustomStringConvertible {
    /// An incarnation: its entry in the runtime, its directory, its control group.
    case container(ContainerID)
    /// A control group of searches.
    case searches(ProjectID)
    /// Another control group below the instance's.
    case group(String)
    /// The host's end of a container's link.
    case link(String)
    /// A mount of a project's disk, by the name of the project's directory; `nil` below the trash.
    case disk(point: String, project: String?)
    /// A mount that only the making of a container needs.
    case rootMount(point: String, container: ContainerID)
    /// A loop device that is mounted nowhere.
    case device(LoopVolume.Device)
    /// A directory among the images that is none.
    case imageDirectory(String)

    package var description: String {
        switch self {
        case .container(let id): "container \(id)"
        case .searches(let project): "control group of searches in \(project)"
        case .group(let name): "control group \(name)"
        case .link(let name): "link \(name)"
        case .disk(let point, _), .rootMount(let point, _): "mount \(point)"
        case .device(let device): "loop device of \(device.file)"
        case .imageDirectory(let name): "image directory \(name)"
        }
    }
}

/// What should be there.
package struct KnownThings: Sendable {
    package var containers: Set<ContainerID> = []
    /// Those of them that are being made.
    package var beginning: Set<ContainerID> = []
    package var projects: Set<ProjectID> = []
    /// Names of the directories of projects, readable or not.
    package var directories: Set<String> = []
    /// Of projects that have a container.
    package var links: Set<String> = []
    /// Of the images that projects are built on.
    package var images: Set<String> = []

    package init() {}

    package func has(_ thing: HostThing) -> Bool {
        switch thing {
        case .container(let id): containers.contains(id)
        case .searches(let project): projects.contains(project)
        case .group: false
        case .link(let name): links.contains(name)
        case .disk(_, let project): project.map(directories.contains) ?? false
        case .rootMount(_, let container): beginning.contains(container)
        case .device: false
        case .imageDirectory(let name): images.contains(name)
        }
    }
}

/// Decides what is garbage: what nobody knows, and what nobody knew at the look before either. Between the two looks everything that is being
/// made has become known, and everything that is being removed is gone.
package struct GarbageStateMachine: Sendable {
    private var suspects: Set<HostThing> = []

    package init() {}

    /// - Parameters:
    ///   - found: what was on the host, before it was asked what is known.
    /// - Returns: what is to be removed.
    package mutating func looked(found: Set<HostThing>, known: KnownThings) -> Set<HostThing> {
        let unknown = found.filter { !known.has($0) }
        defer { suspects = unknown }
        return unknown.intersection(suspects)
    }
}
