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

    public init(
        paths: NodePaths, initProgram: String, addressPool: String = "10.224.0.0/15", resolvers: [String]? = nil,
        deniedNetworks: [String] = [], runtime: String = "runc"
    ) {
        self.paths = paths
        self.initProgram = initProgram
        self.addressPool = addressPool
        self.resolvers = resolvers
        self.deniedNetworks = deniedNetworks
        self.runtime = runtime
    }
}
