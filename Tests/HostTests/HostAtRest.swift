import Foundation

/// What an installation has on its host while no container runs, and what there is beyond that later.
struct HostAtRest {
    private let host: Installation
    private let nodes: Int
    private let usual: Set<String>

    init(_ host: Installation, nodes: Int = 1) throws {
        (self.host, self.nodes) = (host, nodes)
        usual = try Self.things(host, nodes)
    }

    /// - Parameter moved: directories of projects, and the disks in them, need not be on the node where they were.
    func leftovers(moved: Bool = false) throws -> [String] {
        try Self.things(host, nodes).subtracting(usual).filter { !moved || !Self.movesWithProject($0) }.sorted()
    }

    private static func movesWithProject(_ thing: String) -> Bool {
        if thing.hasPrefix("project ") { return true }
        guard thing.contains("/projects/") else { return false }
        // A second device of a disk belongs to nobody wherever the project is.
        return thing.hasPrefix("mount ") && thing.hasSuffix("/disk")
            || thing.hasPrefix("loop device 1 of ") && thing.hasSuffix("/disk.img")
    }

    private static func things(_ host: Installation, _ nodes: Int) throws -> Set<String> {
        var things = HostFacts.processes(host.name).filter { !isDaemon($0) }
        things += HostFacts.links(ofInstance: host.name).map { "link \($0)" }
        things += try rules(host).map { "rule \($0)" }
        things += try HostFacts.mountPoints().filter { $0.contains("/\(host.name)-") || $0.contains("/\(host.name)/") }
            .map { "mount \($0)" }
        things += loopDevices(host)
        for node in 0..<nodes {
            let groups = host.controlGroupFiles(["cgroup.procs"], node: node)
            things += groups.filter { access($0, F_OK) == 0 }.map { "control group \($0)" }
            things += host.runtimes(of: node).map { "runtime \($0)" }
            let state = host.place(of: node).appending(path: "node-\(node)").path
            for (kind, folder) in [("project", "projects"), ("trash", "trash"), ("set aside", "set-aside")] {
                things += HostFacts.names("\(state)/\(folder)").map { "\(kind) \(node)/\($0)" }
            }
            let containers = host.runDirectory(node) + "/containers"
            things += HostFacts.names(containers).map { "container \(node)/\($0)" }
        }
        return Set(things)
    }

    /// Those of each file have numbers, so that a second one of the same file is another thing.
    private static func loopDevices(_ host: Installation) -> [String] {
        Dictionary(grouping: HostFacts.loopFiles("/\(host.name)/")) { $0 }.flatMap { file, devices in
            (1...devices.count).map { "loop device \($0) of \(file)" }
        }
    }

    private static func isDaemon(_ process: String) -> Bool {
        ["/fastable-node --instance ", "/fastable-controller --instance "].contains { process.contains($0) }
    }

    /// The lines of the instance's tables, without counters.
    private static func rules(_ host: Installation) throws -> [String] {
        let tables = try HostFacts.run("nft", ["list", "tables"]).split(separator: "\n").filter {
            $0.contains(host.name)
        }
        return try tables.flatMap { table in
            try HostFacts.run("nft", ["-s", "list"] + table.split(separator: " ").map(String.init))
                .split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        }
    }
}
