import CLinux
import FastableCore
public import FoundationEssentials
import Glibc

/// The host's network, by its own tools.
public enum NetworkTools {
    /// Loads a rule file in one transaction: all of it or nothing.
    public static func nft(_ rules: String, in namespace: String? = nil, doing what: String) async throws {
        try await command("nft", ["-f", "-"], in: namespace, Data(rules.utf8)).runChecked(what)
    }

    /// What the kernel has in a table, like `inet fastable_demo`, as the JSON of `nft`; `nil` when there is none.
    public static func table(_ name: String, in namespace: String? = nil) async throws -> Data? {
        let arguments = ["-j", "list", "table"] + name.split(separator: " ").map(String.init)
        let result = try await command("nft", arguments, in: namespace).run()
        if !result.status.isSuccess, result.errorText.contains("No such file or directory") { return nil }
        return try result.checked("list the firewall's rules").stdout
    }

    /// Counted up by the kernel with every change of the host's nftables, whoever makes it. Asking costs no program.
    public static func nftGeneration() throws(Errno) -> UInt32 {
        var generation: UInt32 = 0
        try Errno.checkNegative(fst_nft_generation(&generation))
        return generation
    }

    private static func command(
        _ tool: String, _ arguments: [String], in namespace: String?, _ input: Data? = nil
    ) -> HostCommand {
        guard let namespace else { return HostCommand(tool, arguments, standardInput: input) }
        return HostCommand("nsenter", ["--net=" + namespace, "--", tool] + arguments, standardInput: input)
    }

    /// Names of all tables: `inet fastable_demo`.
    public static func tables() async throws -> [String] {
        try await HostCommand("nft", ["list", "tables"]).runChecked("list the firewall's tables").text
            .split(separator: "\n").map { String($0.trimmingPrefix("table ")) }
    }

    /// A line of the main routing table.
    public struct Route: Codable, Sendable, Equatable {
        /// `10.0.0.0/24`, `192.0.2.1` or `default`.
        public var dst: String
        public var dev: String?
    }

    public static func routes() async throws -> [Route] {
        let result = try await HostCommand("ip", ["-j", "-4", "route", "show"]).runChecked("read the routing table")
        let routes = try JSONDecoder().decode([Route].self, from: result.stdout)
        // The route of an interface that was going away meanwhile has a device without a name, which `ip` shows as ‘if’ and a number.
        return routes.filter { $0.dev.map { if_nametoindex($0) != 0 } ?? true }
    }

    /// Names of the host's network interfaces.
    public static func interfaces() -> [String] {
        guard let list = if_nameindex() else { return [] }
        defer { if_freenameindex(list) }
        var names: [String] = []
        var entry = list
        while let name = entry.pointee.if_name {
            names.append(String(cString: name))
            entry += 1
        }
        return names
    }
}
