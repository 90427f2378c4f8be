public import FastableCore
import NodeLinux

/// What an operator sets about containers on a node.
public struct SandboxConfiguration: Sendable {
    public var paths: NodePaths
    /// The program `fastable-init` on the host.
    public var initProgram: String
    /// Addresses that all instances of the machine share; each takes a /20 of it.
    public var addressPool: String
    /// Name servers for containers; `nil` takes those of the host.
    public var resolvers: [String]?
    /// Networks that containers must not reach although their addresses are public.
    public var deniedNetworks: [String]
    /// The OCI runtime: a name, or an absolute path.
    public var runtime: String
    /// Longer for tests, which must not depend on how busy their machine is.
    package var killProofMilliseconds = Limits.killProofMilliseconds
    /// The size of a project's own disk; `nil` makes none for new projects.
    public var projectDiskBytes: Int?
    /// How much of the disk with the node's state is to stay free.
    public var diskPercents: DiskPressurePercents

    /// Containers that are started at a time; others wait for their turn.
    public var startsAtOnce: Int
    /// Containers that begin to be started in a minute.
    public var startsPerMinute: Int
    /// `host:port` of registries that are spoken to without TLS.
    public var insecureRegistries: [String]
    /// Memory that the host has to give.
    package var availableMemory: @Sendable () -> Int? = { HostMemory.available() }

    public init(
        paths: NodePaths, initProgram: String, addressPool: String = "10.224.0.0/15", resolvers: [String]? = nil,
        deniedNetworks: [String] = [], runtime: String = "runc", projectDiskBytes: Int? = nil,
        diskPercents: DiskPressurePercents = DiskPressurePercents(), startsAtOnce: Int = Limits.startsAtOnce,
        startsPerMinute: Int = Limits.startsPerMinute, insecureRegistries: [String] = []
    ) {
        self.insecureRegistries = insecureRegistries
        self.startsPerMinute = startsPerMinute
        self.startsAtOnce = startsAtOnce
        self.paths = paths
        self.initProgram = initProgram
        self.addressPool = addressPool
        self.resolvers = resolvers
        self.deniedNetworks = deniedNetworks
        self.runtime = runtime
        self.projectDiskBytes = projectDiskBytes
        self.diskPercents = diskPercents
    }
}
