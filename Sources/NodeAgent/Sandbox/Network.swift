import FastableCore
import Glibc
import NodeLinux

/// The link between a container and the host: a pair of virtual interfaces with one address each.
///
/// The network namespace is made by us before the container, so the link is ready before any process of the project runs.
struct Network: Sendable {
    /// Connects a namespace that has no link yet.
    func attach(_ slot: Slot, to namespaces: ContainerNamespaces) async throws {
        try await detach(slot)
        let name = slot.interface
        var host = [
            "link add \(name) type veth peer name eth0 netns \(namespaces.networkPath)",
            "addr add \(slot.hostAddress)/30 dev \(name)",
            "link set \(name) up",
        ]
        if Self.hasIPv6 { host.insert("link set \(name) addrgenmode none", at: 1) }
        try await NetworkTools.ip(host, doing: "connect the container's network")
        try await NetworkTools.ip(
            [
                "link set lo up",
                "addr add \(slot.containerAddress)/30 dev eth0",
                "link set eth0 up",
                "route add default via \(slot.hostAddress)",
            ], in: namespaces.networkPath, doing: "set up the container's network")
    }

    /// Removes a slot's link; none is fine. The kernel does the same a little later when the namespace ends.
    func detach(_ slot: Slot) async throws { try await detach(interface: slot.interface) }

    func detach(interface: String) async throws {
        guard exists(interface) else { return }
        do {
            try await NetworkTools.ip(["link del \(interface)"], doing: "remove the container's network")
        } catch  where !exists(interface) {
            // The namespace's end was faster.
        }
    }

    func exists(_ interface: String) -> Bool { if_nametoindex(interface) != 0 }

    /// Interfaces of an instance, whoever made them.
    func interfaces(of block: InstanceBlock) -> [String] {
        NetworkTools.interfaces().filter { $0.hasPrefix(block.interfacePrefix) }
    }

    private static let hasIPv6 = Directories.exists("/proc/sys/net/ipv6")
}
