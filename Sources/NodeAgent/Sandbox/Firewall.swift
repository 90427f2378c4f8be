import FastableCore
import Glibc
package import Logging
import NodeLinux
import Synchronization

/// Puts an instance's rules in force and takes them away again.
package final class Firewall: Sendable {
    private struct State {
        /// What the kernel says of our rules where nobody else can change them.
        var expected: FirewallTable?
        /// Why the way through the older filter could not be opened, as it was logged.
        var passageProblem: String?
        /// The interfaces that the rules switch off, as they were loaded last.
        var cut: Set<String>?
        /// The generation of the host's nftables at which a look found nothing to mend.
        var inForce: UInt32?
        /// The last change of the rules: the next one begins when it has ended.
        var change: Task<Void, any Error>?
        /// A look at what is in force, and the one that begins when it has ended.
        var check: Task<Void, any Error>?
        var nextCheck: Task<Void, any Error>?
    }

    let rules: FirewallRules
    let forwarding: Forwarding
    /// The program that sets the rules of the older filter.
    private let olderTool: String
    private let logger: Logger
    /// The interfaces through which nothing may pass now.
    private let cut: @Sendable () -> Set<String>
    private let state = Mutex(State())

    package init(
        rules: FirewallRules, forwarding: Forwarding, olderTool: String = "iptables", logger: Logger,
        cut: @escaping @Sendable () -> Set<String> = { [] }
    ) {
        self.cut = cut
        self.rules = rules
        self.forwarding = forwarding
        self.olderTool = olderTool
        self.logger = logger
    }

    /// Replaces what is in force.
    package func apply() async throws {
        try await inTurn { firewall in try await firewall.load() }
        try forwarding.enable()
        await setPassage(true)
    }

    /// Cuts the networks that are to be cut now, and opens the others. Nothing else of the host is looked at.
    package func updateCut() async throws {
        try await inTurn { firewall in
            guard firewall.state.withLock({ $0.cut }) != firewall.cut() else { return }
            try await firewall.load()
        }
    }

    /// Puts the rules in force again when another program flushed or changed them, or when Docker was started since.
    ///
    /// Callers that come while a look is under way share the next one: it begins after they came, and costs two programs once.
    package func check() async throws {
        let task = state.withLock { state -> Task<Void, any Error> in
            if let next = state.nextCheck { return next }
            let task = Task { [previous = state.check] in
                _ = await previous?.result
                self.state.withLock { state in
                    state.check = state.nextCheck.take()
                }
                try await self.look()
            }
            state.nextCheck = task
            return task
        }
        try await task.value
    }

    /// The same for a container that starts. The programs are run only when something was changed since the last look.
    ///
    /// Those tools of the older filter that do not write nftables are seen by the next `check` alone: they can close ways, not open any.
    package func checkBeforeStart() async throws {
        let (inForce, loaded) = state.withLock { ($0.inForce, $0.cut) }
        guard let inForce, loaded == cut(), inForce == (try? NetworkTools.nftGeneration()) else {
            return try await check()
        }
        try forwarding.enable()
    }

    private func look() async throws {
        // Asked first: what is changed during the look is another generation's.
        let generation = try? NetworkTools.nftGeneration()
        let change = try await change()
        if change != nil { try await inTurn { firewall in try await firewall.mend() } }
        try forwarding.enable()
        await setPassage(true)
        state.withLock { $0.inForce = change == nil ? generation : nil }
    }

    /// What is to be cut is asked when its turn has come, so that the last change is the one that stays.
    private func load() async throws {
        let wanted = cut()
        try await NetworkTools.nft(rules.text(cut: wanted), doing: "load the firewall's rules")
        state.withLock { $0.cut = wanted }
    }

    private func mend() async throws {
        guard let change = try await change() else { return }
        if let problem = change.problem {
            logger.error(
                "somebody changed the node's firewall rules; they are put in force again",
                metadata: ["table": "\(rules.table)", "change": "\(problem)"])
        }
        try await load()
    }

    /// One change of the rules after the other.
    private func inTurn(_ body: @escaping @Sendable (Firewall) async throws -> Void) async throws {
        let task = state.withLock { state in
            let task = Task { [previous = state.change] in
                _ = await previous?.result
                try await body(self)
            }
            state.change = task
            return task
        }
        try await task.value
    }

    private struct Change {
        /// In which way the table in force is not ours; `nil` when only other networks are to be cut now.
        var problem: String?
    }

    private func change() async throws -> Change? {
        let expected = try await expectedTable()
        let wanted = cut()
        guard let listing = try await NetworkTools.table(rules.table) else {
            return Change(problem: "the table was removed")
        }
        let found = try FirewallTable(listing: listing)
        if let problem = found.difference(from: expected) { return Change(problem: problem) }
        return found.cut == wanted ? nil : Change(problem: nil)
    }

    /// The rules are loaded once into a network namespace of their own and read back from there: what the tool and the kernel make
    /// of a text is theirs to say, and on the host somebody may already have changed it.
    private func expectedTable() async throws -> FirewallTable {
        if let known = state.withLock({ $0.expected }) { return known }
        let namespaces = try ContainerNamespaces(base: rules.block.uidBase, count: Slot.idCount)
        let path = namespaces.networkPath
        try await NetworkTools.nft(rules.text(), in: path, doing: "try the firewall's rules")
        let listing = try await NetworkTools.table(rules.table, in: path)
        withExtendedLifetime(namespaces) {}
        guard let listing else {
            throw FastableError(.internal, "The node could not read its firewall rules back.", context: rules.table)
        }
        let expected = try FirewallTable(listing: listing)
        state.withLock { $0.expected = expected }
        return expected
    }

    /// Safe when nothing was applied.
    package func remove() async throws {
        await setPassage(false)
        try await NetworkTools.nft(rules.removal, doing: "remove the firewall's rules")
        let others = try await NetworkTools.tables().contains { $0.hasPrefix("inet fastable_") }
        if !others { try forwarding.restore() }
    }

    /// Docker and ufw set the policy of the older filter's FORWARD chain to DROP, which no rule of ours can overrule from another
    /// table. Docker keeps a chain for such cases. What this lets pass has already passed our own table.
    ///
    /// A failure is logged once, and closes a way at worst.
    private func setPassage(_ wanted: Bool) async {
        var problem: String?
        do { try await changePassage(wanted) } catch { problem = "\(error)" }
        let isNew = state.withLock { state in
            defer { state.passageProblem = problem }
            return problem != state.passageProblem
        }
        guard let problem, isNew else { return }
        logger.error(
            "the older firewall of the host cannot be changed: if it drops forwarded packets, containers have no network",
            metadata: ["cause": "\(problem)"])
    }

    private func changePassage(_ wanted: Bool) async throws {
        // A host without the tool has no such chains, or nobody who could set them.
        guard HostTools.isInstalled(olderTool) else { return }
        let listing = try await HostCommand(olderTool, ["-w", "5", "-S"])
            .runChecked("read the older firewall's rules").text
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
                    try await HostCommand(olderTool, arguments).runChecked("change the older firewall's rules")
                }
            }
        }
    }
}

/// The host's switch for passing packets on, shared by all instances: whoever finds it off notes that, and the last instance to
/// leave puts it back, unless somebody else relies on it by then (Docker and libvirt make bridges, and leave a switch that is on
/// as it is).
package struct Forwarding: Sendable {
    let setting: String
    /// Exists while the switch is on because of us.
    let note: String
    /// Names of the host's network interfaces, with a folder `bridge` in those that are one.
    let interfaces: String

    package init(
        setting: String = "/proc/sys/net/ipv4/ip_forward", note: String, interfaces: String = "/sys/class/net"
    ) {
        self.setting = setting
        self.note = note
        self.interfaces = interfaces
    }

    package func enable() throws {
        let file = try FileDescriptor(opening: setting, O_RDWR)
        guard try file.readAll(limit: 16).first == UInt8(ascii: "0") else { return }
        _ = try FileDescriptor(opening: note, O_WRONLY | O_CREAT, mode: 0o600)
        try file.writeAll(Array("1".utf8))
    }

    package func restore() throws {
        guard unlink(note) == 0 else { return }
        let isUsed = Directories.names(interfaces).contains { Directories.exists("\(interfaces)/\($0)/bridge") }
        guard !isUsed else { return }
        try FileDescriptor(opening: setting, O_WRONLY).writeAll(Array("0".utf8))
    }
}
