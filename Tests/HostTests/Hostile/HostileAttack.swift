import FastableCore
import Foundation
import Testing

/// One way in which a container tries to take what belongs to its neighbours.
struct HostileAttack: Sendable, CustomTestStringConvertible {
    /// What is known from outside while it goes on.
    struct Scene: Sendable {
        let host: Installation
        let exec: JSONValue

        /// It prints a line as soon as it is in full swing.
        func hasPrinted(_ line: String) async throws -> Bool {
            let page = try await host.tool("shell.output", ["execId": exec, "limit": 4096])
            return page["content"]?.string?.contains(line) ?? false
        }

        /// The highest value that a file of control groups has in one of the containers; `key` names a line of a file with several.
        func highest(_ files: [String], key: String? = nil) -> Int {
            host.controlGroupFiles(files).compactMap { path in
                let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
                guard let key else { return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) }
                let line = text.split(separator: "\n").first { $0.hasPrefix(key + " ") }
                return line.flatMap { Int($0.dropFirst(key.count + 1)) }
            }.max() ?? 0
        }
    }

    let testDescription: String
    /// Run by the shell in a container with the usual limits.
    let script: String
    /// The node's disk, when the attack is one on it.
    var disk: SmallDisk.Size?
    /// Clients that run commands in it one after the other, meanwhile.
    var clients = 0
    /// It is in full swing, and has come to the limit that stops it.
    let isUnderWay: @Sendable (Scene) async throws -> Bool

    static let all: [HostileAttack] = [
        forkBomb, memoryBomb, diskExhaustion, inodeExhaustion, descriptorExhaustion, logFlood, zombieStorm, cpuSpin,
        cacheThrash, manyTinyCommands,
    ]
}
