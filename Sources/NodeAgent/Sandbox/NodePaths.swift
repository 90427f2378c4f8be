public import FastableCore
import Glibc
import NodeLinux

/// Where one node instance keeps its things. Two instances on a machine share only `blocks`.
public struct NodePaths: Sendable, Equatable {
    /// Lower-case letters, digits and hyphens; part of names in the kernel, so at most 24 characters.
    public let instance: String
    /// Survives a restart of the machine: projects, images, identity.
    public let state: String
    /// Does not need to survive it: sockets, bundles, the runtime's own state.
    public let run: String
    /// Leases of address and uid blocks, one for all instances of the machine.
    public let blocks: String

    /// Throws `invalid` when the instance's name has another form.
    public init(instance: String, state: String, run: String, blocks: String = "/var/lib/fastable/blocks") throws {
        let allowed = instance.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "-")
        }
        guard allowed, (1...24).contains(instance.utf8.count), instance.utf8.first != UInt8(ascii: "-") else {
            throw FastableError(
                .invalid,
                "‘\(instance)’ cannot name an instance. Use 1 to 24 lower-case letters, digits and hyphens.",
                details: ["field": .string("instance")])
        }
        self.instance = instance
        self.state = state
        self.run = run
        self.blocks = blocks
    }

    /// The places that the packages and units use.
    public static func standard(instance: String) throws -> NodePaths {
        try NodePaths(
            instance: instance, state: "/var/lib/fastable/\(instance)/node", run: "/run/fastable/\(instance)")
    }

    public var projects: String { state + "/projects" }
    public var images: String { state + "/images" }
    public var identity: String { state + "/identity" }
    /// Which block of ids the files below have.
    var block: String { state + "/block" }
    /// The controller's kill switches as this node was told them, and the one of the host itself.
    var switches: String { state + "/switches.json" }
    var localSwitch: String { state + "/kill-switch.json" }
    /// What of the host's own switch the daemon has put in force.
    var takenSwitch: String { run + "/kill-switch.taken" }
    /// Until when the controller lets this node run what it would start elsewhere.
    var lease: String { run + "/lease.json" }
    /// What the node has of projects that are another node's by now. Nobody removes it but people.
    var setAside: String { state + "/set-aside" }
    /// The control group of all containers of the instance.
    package var group: String { "fastable-" + instance }
    /// Deleted projects on their way out; emptied at start.
    var trash: String { state + "/trash" }
    /// The init program as containers see it; not below `run`, which is often mounted `noexec`.
    var initProgram: String { state + "/fastable-init" }
    var containers: String { run + "/containers" }
    /// The OCI runtime's own state.
    var runtime: String { run + "/runtime" }
    var cgroupMount: String { run + "/cgroup2" }

    public func project(_ project: ProjectID) -> ProjectPaths {
        ProjectPaths(directory: projects + "/" + project.description)
    }

    func container(_ container: ContainerID) -> ContainerPaths {
        ContainerPaths(directory: containers + "/" + container.description)
    }
}

/// What one project keeps on disk.
public struct ProjectPaths: Sendable, Equatable {
    public let directory: String
    /// The project's id.
    var name: String { directory.split(separator: "/").last.map(String.init) ?? directory }
    public var record: String { directory + "/record.json" }
    /// A disk of its own, if it has one, and the file that holds it; see `ProjectDisk`.
    var disk: String { directory + "/disk" }
    static let diskImageName = "disk.img"
    var diskImage: String { directory + "/" + Self.diskImageName }
    var hasDisk: Bool { Directories.exists(diskImage) }
    /// Where everything lies that the project's container can write.
    var content: String { hasDisk ? disk : directory }
    /// `/workspace` and `/cache` of the container; they outlive every incarnation.
    public var workspace: String { content + "/workspace" }
    public var cache: String { content + "/cache" }
    /// What the container changed in the rest of its file system, and the overlay's own work directory.
    public var upper: String { content + "/upper" }
    public var work: String { content + "/work" }
    /// Copies of the workspace, out of the container's sight and on the same file system.
    public var checkpoints: String { content + "/checkpoints" }
    /// Notes of names that files have for a moment.
    public var temporaryNames: String { content + "/names" }
    /// Output and results of commands.
    public var execs: String { directory + "/execs" }
}

/// What one incarnation of a container needs while it runs.
struct ContainerPaths: Sendable, Equatable {
    let directory: String
    var bundle: String { directory + "/bundle" }
    /// Mount points that are in use only while the container starts.
    var rootfs: String { directory + "/rootfs" }
    var lower: String { directory + "/lower" }
    var initSocket: String { directory + "/init.sock" }
    var runtimeLog: String { directory + "/runtime.log" }
    private var slotFile: String { directory + "/slot" }

    /// Notes whose ids and addresses the incarnation has, for whoever must remove it. Blocks.
    func keep(_ slot: Slot) throws {
        let file = try FileDescriptor(opening: slotFile, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o600)
        try file.writeAll(Array("\(slot.index)".utf8))
    }

    /// What was noted; `nil` when nothing tells.
    func slot(of block: InstanceBlock) -> Slot? {
        guard let bytes = (try? SmallFile.read(slotFile, atMost: 16)).flatMap({ $0 }),
            let index = Int(String(decoding: bytes, as: UTF8.self))
        else { return nil }
        return try? block.slot(index)
    }
}
