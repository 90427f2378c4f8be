import FastableCore
import Foundation
import Testing

/// One way in which a container tries to take what belongs to its neighbours.
struct HostileAttack: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// Run by the shell in a container with the usual limits. It goes on until it is ended.
    let script: String
    /// The node's disk, when the attack is one on it.
    var disk: SmallDisk.Size?
    /// Clients that run commands in it one after the other, meanwhile.
    var clients = 0
    /// How often it has come to the limit that stops it, or has had what it wants: this rises as long as it goes on.
    let strikes: @Sendable (HostileScene) async throws -> Int
    /// So many are its full swing.
    var fullSwing = 1
    /// What the host has of it, as the host sees it: whatever its script says.
    var isSeen: @Sendable (HostileScene) throws -> Bool = { _ in true }

    static let all: [HostileAttack] = [
        forkBomb, memoryBomb, diskExhaustion, inodeExhaustion, descriptorExhaustion, logFlood, zombieStorm, cpuSpin,
        cacheThrash, manyTinyCommands,
    ]
}

/// What is known from outside while an attack goes on.
struct HostileScene: Sendable {
    let host: Installation
    let exec: JSONValue
    /// Commands that its clients have run.
    let commands: Counter
    /// What runs in its container, and not in its neighbour's.
    private let calm: Set<Int32>

    init(_ host: Installation, exec: JSONValue, calm: Set<Int32>) {
        (self.host, self.exec, self.calm) = (host, exec, calm)
        commands = Counter()
    }

    var processes: Set<Int32> { host.processes(of: 0).subtracting(calm) }

    /// Bytes that it has printed. Throws when it has ended: then nothing is attacked any more.
    func printedBytes() async throws -> Int {
        let page = try await host.tool("shell.output", ["execId": exec, "limit": 1])
        try #require(page["running"] == true, "the attack has ended")
        return Int(page["totalBytes"]?.integer ?? 0)
    }

    /// The highest value that a file of control groups has in one of the containers; `key` names a line of a file with several.
    func highest(_ files: [String], key: String? = nil) -> Int {
        host.controlGroupFiles(files).compactMap { path in
            let text = HostFacts.text(path)
            guard let key else { return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) }
            let line = text.split(separator: "\n").first { $0.hasPrefix(key + " ") }
            return line.flatMap { Int($0.dropFirst(key.count + 1)) }
        }.max() ?? 0
    }
}
