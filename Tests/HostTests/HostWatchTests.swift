import FastableCore
import Foundation
import Glibc
import TestSupport
import Testing

/// A daemon looks after its host by itself: nobody has to restart it, nor to use anything.
@Suite(
    "Looking after the host", .serialized, .enabled(if: Installation.missing == nil, "\(Installation.missing ?? "")"))
struct HostWatchTests {
    /// Things with names of the node's own that belong to no container.
    private struct Orphans {
        private let groups: [String]
        private let links: [String]

        /// - Parameter link: the one of a container that runs. Its name begins as those of all the node's links do.
        init(_ host: Installation, beside link: String) throws {
            let tops = host.groups(of: 0).filter { $0.hasSuffix("/fastable-\(host.nodeName(0))") }
            let names = ["\(ContainerID())", "search-\(ProjectID())", "stray"]
            groups = tops.flatMap { top in names.map { "\(top)/\($0)" } }
            // The first would be that of a project which the node has not, the other can be nobody's.
            links = ["3e6", "fff"].map { String(link.prefix { $0 != "-" }) + "-" + $0 }
            try #require(!groups.isEmpty, "the node's control group was not found")
            for group in groups {
                // Two names of one tree lead to the same group.
                let isMade = mkdir(group, 0o755) == 0 || errno == EEXIST
                try #require(isMade, "\(group)")
            }
            for link in links {
                try HostFacts.run("ip", ["link", "add", link, "type", "veth", "peer", "name", "p" + link])
            }
        }

        var left: [String] {
            let devices = HostFacts.names("/sys/class/net")
            return groups.filter { access($0, F_OK) == 0 } + links.filter(devices.contains)
        }

        /// For tests that fail.
        func remove() {
            for group in groups { rmdir(group) }
            let devices = HostFacts.names("/sys/class/net")
            for link in links where devices.contains(link) { _ = try? HostFacts.run("ip", ["link", "delete", link]) }
        }
    }

    private static func table(_ host: Installation) -> [String] {
        ["inet", "fastable_\(host.nodeName(0))"]
    }

    private static func rules(_ host: Installation) throws -> String {
        try HostFacts.run("nft", ["-s", "list", "table"] + table(host))
    }

    private static func count(_ host: Installation) async throws -> Int {
        let file = try await host.tool("fs.read", ["project": "p", "path": "count"])
        return file["content"]?.string.flatMap { Int($0.filter(\.isNumber)) } ?? 0
    }

    @Test(.endsInTime) func whatBelongsToNothingGoesAndWhatWasTakenAwayComesBack() async throws {
        try await Installation.with { host in
            try await host.tool("projects_create", ["name": "p"])
            let counting = "i=0; while true; do i=$((i+1)); echo $i > count; sleep 0.05; done"
            let started = try await host.tool(
                "shell.exec", ["project": "p", "cmd": .string(counting), "detach": true])
            try await eventually("it counts") { (try? await Self.count(host)) ?? 0 > 3 }
            let container = try await host.tool("devcontainer.status", ["project": "p"])["container"]
            let links = HostFacts.links(ofInstance: host.name)
            #expect(links.count == 1)
            let (daemon, before) = (try host.nodeProcess(), try Self.rules(host))
            let orphans = try Orphans(host, beside: try #require(links.first))
            defer { orphans.remove() }
            try HostFacts.run("nft", ["flush", "chain"] + Self.table(host) + ["forward"])

            try await eventually("the rules are in force again") { try Self.rules(host) == before }
            // What seems to be nobody's may just be being made: the daemon looks twice.
            try await eventually("nothing is left", seconds: 5 * Limits.garbageSweepSeconds) { orphans.left.isEmpty }

            #expect(try host.nodeProcess() == daemon && !HostFacts.hasEnded(daemon), "by the same daemon")
            #expect(HostFacts.links(ofInstance: host.name) == links)
            #expect(try await host.tool("devcontainer.status", ["project": "p"])["container"] == container)
            let counted = try await Self.count(host)
            try await eventually("it goes on") { try await Self.count(host) > counted }
            let killed = try await host.tool("shell.kill", ["execId": try #require(started["execId"])])
            #expect(killed["everythingEnded"] == true)
        }
    }
}
