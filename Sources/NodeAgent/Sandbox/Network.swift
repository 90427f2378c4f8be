import CLinux
import FastableCore
import Glibc
import NodeLinux

/// The link between a container and the host: a pair of virtual interfaces with one address each.
///
/// The network namespace is made by us before the container, so the link is ready before any process of the project runs. The kernel
/// is asked directly: programs would cost more than all of it.
struct Network: Sendable {
    /// Connects a namespace that has no link yet.
    func attach(_ slot: Slot, to namespaces: ContainerNamespaces) async throws {
        try await BlockingPool.shared.run {
            try remove(slot.interface)
            let status = slot.interface.withCString { name in
                var link = fst_link()
                link.name = name
                link.host_address = slot.hostAddress.bits.bigEndian
                link.container_address = slot.containerAddress.bits.bigEndian
                link.prefix = UInt8(slot.network.prefix)
                link.network = namespaces.network.number
                link.without_ipv6_address = Self.hasIPv6 ? 1 : 0
                return fst_link_create(&link)
            }
            try Self.check(status, "connect the container's network", slot.interface)
        }
    }

    /// Removes a slot's link; none is fine. The kernel does the same a little later when the namespace ends.
    func detach(_ slot: Slot) async throws { try await detach(interface: slot.interface) }

    func detach(interface: String) async throws {
        try await BlockingPool.shared.run { try remove(interface) }
    }

    private func remove(_ interface: String) throws {
        guard exists(interface) else { return }
        let status = fst_link_remove(interface)
        // The namespace's end may have been faster.
        if status != -ENODEV { try Self.check(status, "remove the container's network", interface) }
    }

    private static func check(_ status: CInt, _ what: String, _ interface: String) throws {
        do throws(Errno) { try Errno.checkNegative(status) } catch {
            throw FastableError(.internal, "The node could not \(what).", context: "\(interface): \(error)")
        }
    }

    func exists(_ interface: String) -> Bool { if_nametoindex(interface) != 0 }

    /// Interfaces of an instance, whoever made them.
    func interfaces(of block: InstanceBlock) -> [String] {
        NetworkTools.interfaces().filter { $0.hasPrefix(block.interfacePrefix) }
    }

    private static let hasIPv6 = Directories.exists("/proc/sys/net/ipv6")
}
