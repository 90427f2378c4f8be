import FastableCore
import Glibc
import NodeLinux

/// Puts an instance's rules in force and takes them away again.
struct Firewall: Sendable {
    let rules: FirewallRules
    let forwarding: Forwarding

    /// Replaces what is in force.
    func apply() async throws {
        try await NetworkTools.nft(rules.text, doing: "load the firewall's rules")
        try forwarding.enable()
        await setPassage(true)
    }

    /// Puts the rules in force again when another program flushed them, or when Docker was started since.
    func check() async throws {
        if try await NetworkTools.tables().contains(rules.table) {
            try forwarding.enable()
            await setPassage(true)
        } else {
            try await apply()
        }
    }

    /// Safe when nothing was applied.
    func remove() async throws {
        await setPassage(false)
        try await NetworkTools.nft(rules.removal, doing: "remove the firewall's rules")
        let others = try await NetworkTools.tables().contains { $0.hasPrefix("inet fastable_") }
        if !others { try forwarding.restore() }
    }

    /// Docker and ufw set the policy of the older filter's FORWARD chain to DROP, which no rule of ours can overrule from another
    /// table. Docker keeps a chain for such cases. What this lets pass has already passed our own table.
    private func setPassage(_ wanted: Bool) async {
        guard let listing = try? await HostCommand("iptables", ["-w", "5", "-S"]).run().text else { return }
        let place =
            listing.contains("-N DOCKER-USER\n")
            ? "DOCKER-USER" : listing.contains("-P FORWARD DROP\n") ? "FORWARD" : nil
        for chain in ["DOCKER-USER", "FORWARD"] {
            for direction in ["-i", "-o"] {
                let rule = "\(direction) \(rules.block.interfacePrefix)+ -j ACCEPT"
                let copies = listing.split(separator: "\n").count { $0 == "-A \(chain) \(rule)" }
                let belongs = wanted && chain == place
                let arguments = ["-w", "5", belongs ? "-I" : "-D", chain] + rule.split(separator: " ").map(String.init)
                for _ in 0..<(belongs ? max(0, 1 - copies) : copies) {
                    _ = try? await HostCommand("iptables", arguments).run()
                }
            }
        }
    }
}

/// The host's switch for passing packets on, shared by all instances: whoever finds it off notes that, and the last instance to
/// leave puts it back.
package struct Forwarding: Sendable {
    let setting: String
    /// Exists while the switch is on because of us.
    let note: String

    package init(setting: String = "/proc/sys/net/ipv4/ip_forward", note: String) {
        self.setting = setting
        self.note = note
    }

    package func enable() throws {
        let file = try FileDescriptor(opening: setting, O_RDWR)
        guard try file.readAll(limit: 16).first == UInt8(ascii: "0") else { return }
        _ = try FileDescriptor(opening: note, O_WRONLY | O_CREAT, mode: 0o600)
        try file.writeAll(Array("1".utf8))
    }

    package func restore() throws {
        guard unlink(note) == 0 else { return }
        try FileDescriptor(opening: setting, O_WRONLY).writeAll(Array("0".utf8))
    }
}
