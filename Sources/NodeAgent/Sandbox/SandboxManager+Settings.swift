import FastableCore
import NodeLinux

/// What an operator has set, checked.
extension SandboxManager {
    static func lease(
        _ registry: BlockRegistry, _ configuration: SandboxConfiguration
    ) async throws -> InstanceBlock {
        let pool = try network(configuration.addressPool)
        let routes = try await NetworkTools.routes()
        return try await BlockingPool.shared.run {
            try registry.lease(pool: pool) { block in
                !routes.contains { route in
                    guard let network = IPv4Network(route.dst), network.prefix > 0 else { return false }
                    return network.overlaps(block.network) && !(route.dev ?? "").hasPrefix(block.interfacePrefix)
                }
            }
        }
    }

    static func network(_ text: String) throws -> IPv4Network {
        guard let network = IPv4Network(text) else {
            throw FastableError(.invalid, "‘\(text)’ is not a range of IPv4 addresses. Write it like 10.224.0.0/15.")
        }
        return network
    }

    static func resolver(_ text: String) throws -> IPv4Address {
        guard let address = IPv4Address(text), !address.isLoopback else {
            throw FastableError(
                .invalid,
                "‘\(text)’ cannot be a name server for containers. Give the IPv4 address of one that they can reach.")
        }
        return address
    }
}
