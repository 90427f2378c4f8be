import FastableCore
import Foundation
import TestSupport
import Testing

/// What tests of drains do and look at.
enum DrainWork {
    /// A project on this node, with some content on its disk.
    static func fill(
        _ host: Installation, _ project: String = "p", on node: Int, files: Int, diskBytes: Int64? = nil
    ) async throws {
        try await host.tool("nodes_cordon", ["node": .string(host.nodeName(1 - node))])
        var wish: [String: JSONValue] = ["name": .string(project)]
        wish["limits"] = diskBytes.map { ["diskBytes": .integer($0)] }
        try await host.tool("projects_create", .object(wish))
        let made = try await host.exec(
            project,
            """
            cd /workspace && mkdir deep && head -c 1000000 /dev/urandom > noise \
            && for i in $(seq \(files)); do echo $i > deep/$i; done && sync
            """, timeoutSeconds: 120)
        #expect(made["exitCode"] == 0, "\(made)")
        try await host.tool("nodes_uncordon", ["node": .string(host.nodeName(1 - node))])
        #expect(try await home(host, project) == host.nodeName(node))
    }

    static func home(_ host: Installation, _ project: String = "p") async throws -> String? {
        try await host.tool("projects_get", ["project": .string(project)])["node"]?.string
    }

    static func volumes(_ host: Installation, node: Int) -> [String] {
        let path = host.place(of: node).appending(path: "node-\(node)/projects").path
        return (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    }

    /// By name: of old ones only so many are kept.
    static func archives(_ host: Installation) -> Set<String> {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: host.controllerState + "/snapshots")) ?? []
        return Set(names.filter { $0.hasSuffix(".tar.zst") })
    }

    static func isDrained(_ host: Installation, _ node: Int) async throws -> Bool {
        guard let shown = try? await host.tool("nodes_get", ["node": .string(host.nodeName(node))]) else {
            return false
        }
        return shown["drain"] == nil && shown["projects"] == 0
    }

    static func drain(_ host: Installation, _ node: Int) async throws {
        try await host.tool("nodes_drain", ["node": .string(host.nodeName(node))])
    }
}
