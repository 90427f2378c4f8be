import FastableCore
import FoundationEssentials
import Glibc

/// The host's network, by its own tools.
public enum NetworkTools {
    /// Runs commands of `ip`, one a line, in the host's network namespace or in another one given by a path.
    ///
    /// Stops at the first that fails and throws `internal`; `what` completes “The node could not …”.
    public static func ip(_ commands: [String], in namespace: String? = nil, doing what: String) async throws {
        let input = Data((commands.joined(separator: "\n") + "\n").utf8)
        let command =
            if let namespace {
                HostCommand("nsenter", ["--net=" + namespace, "--", "ip", "-batch", "-"], standardInput: input)
            } else {
                HostCommand("ip", ["-batch", "-"], standardInput: input)
            }
        try await command.runChecked(what)
    }

    /// Loads a rule file in one transaction: all of it or nothing.
    public static func nft(_ rules: String, doing what: String) async throws {
        try await HostCommand("nft", ["-f", "-"], standardInput: Data(rules.utf8)).runChecked(what)
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
        return try JSONDecoder().decode([Route].self, from: result.stdout)
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
