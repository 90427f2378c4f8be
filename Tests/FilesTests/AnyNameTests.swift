import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// Names are any bytes but two. Some are no UTF-8, some hold line ends, and some are both; ripgrep finds them all.
@Suite(.endsInTime) struct AnyNameTests {
    private static let bytes: [UInt8] = [
        0x0a, 0x0d, 0x09, 0x20, 0x01, 0x28, 0x2e, 0x61, 0x62, 0x3a, 0x5c, 0x2a, 0xff, 0xfe, 0xc3, 0xbc, 0x80,
    ]
    private static let rules = ["*.a", "a*", "!aa*", "?b", "b/", "/a", "\\ ", "*b*/**", "[!a]", "!b"]
    private static let ripgrep = [
        "--no-config", "--hidden", "--no-require-git", "--no-ignore-global", "--sort=path", "--color=never", "--null",
        "--glob=!.git",
    ]

    /// The paths that ripgrep tells.
    private static func run(_ arguments: [String], in workspace: Workspace) async throws -> [[UInt8]] {
        let command = HostCommand("rg", ripgrep + arguments, workingDirectory: .path(workspace.path))
        let result = try await command.run(timeout: .seconds(300), outputLimit: 64 << 20)
        return result.stdout.split(separator: 0).map { Array($0) }
    }

    /// As all operations tell them.
    private static func shown(_ paths: [[UInt8]]) -> [String] {
        let texts: [String] = paths.map { String(decoding: $0, as: UTF8.self) }
        return texts.sorted()
    }

    /// A new name below a directory, for a system call and without its last zero.
    ///
    /// - Parameter first: the first of the bytes that it may have.
    private static func path(
        below directory: [CChar], from first: Int = 0, _ generator: inout SeededGenerator
    ) -> [CChar] {
        var name: [UInt8] = []
        for _ in 0..<generator.int(1...6) { name.append(bytes[generator.int(first...bytes.count - 1)]) }
        let isDots = name.allSatisfy { $0 == 0x2e }
        var path = directory
        path.append(0x2f)
        for byte in isDots ? [0x61] : name { path.append(CChar(bitPattern: byte)) }
        return path
    }

    private static func makeTree(_ generator: inout SeededGenerator) throws -> Workspace {
        let workspace = try Workspace(inMemory: true)
        var directories: [[CChar]] = [workspace.path.utf8.map { CChar(bitPattern: $0) }]
        for _ in 0..<6 {
            let parent = directories[generator.int(0...directories.count - 1)]
            // Below a directory with a line feed in its name, ripgrep 13 finds no globs or rules to match; git and we do.
            let new = path(below: parent, from: 1, &generator)
            if mkdir(new + [0], 0o777) == 0 { directories.append(new) }
        }
        for directory in directories {
            for _ in 0..<6 {
                let number = open(path(below: directory, &generator) + [0], O_WRONLY | O_CREAT, 0o666)
                guard number >= 0 else { continue }
                try FileDescriptor(owning: number).writeAll(Array("needle\nhay\nneedle\n".utf8))
            }
        }
        if generator.chance(70) {
            var text = ""
            for _ in 0..<generator.int(1...4) { text += rules[generator.int(0...rules.count - 1)] + "\n" }
            try workspace.put(text, ".gitignore")
        }
        return workspace
    }

    @Test func whatRipgrepFindsIsFound() async throws {
        var generator = SeededGenerator()
        for round in 0..<40 {
            let workspace = try Self.makeTree(&generator)
            let service = workspace.service
            let seed = "round \(round), seed \(generator.seed)"
            let unignored = try await Self.run(["--files"], in: workspace)
            let all = try await service.glob(FileGlob(pattern: "**")).paths
            #expect(all == Self.shown(unignored), "\(seed)")
            for pattern in ["*a*", "?", "*\n*", "a*/**", "!*b", "**/*.*"] {
                // A glob brings back what ignore files leave out.
                let matching = try await Self.run(["--files", "--no-ignore", "--glob=\(pattern)"], in: workspace)
                let both = Set(unignored).intersection(matching)
                let found = try await service.glob(FileGlob(pattern: pattern)).paths
                #expect(found == Self.shown(Array(both)), "‘\(pattern)’, \(seed)")
            }
            let matching = try await Self.run(["--files-with-matches", "--regexp=needle"], in: workspace)
            let matches = try await service.grep(FileGrep(pattern: "needle")).matches
            for line in [1, 3] {
                var paths: [String] = []
                for match in matches where match.line == line && match.text == "needle" { paths.append(match.path) }
                #expect(paths.sorted() == Self.shown(matching), "line \(line), \(seed)")
            }
            #expect(matches.count == 2 * matching.count, "\(seed)")
        }
    }
}
