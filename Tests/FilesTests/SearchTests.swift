import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct SearchTests {
    private func sample() throws -> Workspace {
        let workspace = try Workspace()
        for (name, text) in [
            "src/main.swift": "import Foo\nlet needle = 1\n", "src/sub/other.swift": "// Needle\n",
            "src/sub/data.json": "{\"needle\": 2}\n", "README.md": "needle\r\nno\r\nneedle again\r\n",
            ".hidden/x.swift": "needle\n", ".gitignore": "build/\n*.log\n", "build/out.swift": "needle\n",
            "debug.log": "needle\n", ".git/config": "needle\n", "sub/.gitignore": "skip.txt\n",
            "sub/skip.txt": "needle\n", "sub/keep.txt": "needle\n",
        ] { try workspace.put(text, name) }
        return workspace
    }

    private func grep(_ workspace: Workspace, _ request: FileGrep) async throws -> [String] {
        try await workspace.service.grep(request).matches.map { "\($0.path):\($0.line):\($0.text)" }
    }

    /// What the kernel ended must not look like a search that found nothing.
    @Test(.enabled(if: geteuid() == 0, "needs root"))
    func aSearchThatNeedsTooMuchMemoryIsAnError() async throws {
        let workspace = try sample()
        let tree = try CgroupTree(ownMount: "/tmp/fastable-filestests-cgroup2")
        let group = "fastable-filestests-\(getpid())"
        let limits = ResourceLimits(cpus: 1, memoryBytes: 512 * 1024, pids: 20)
        let service = try FileService(root: workspace.path, uidBase: workspace.service.uidBase) {
            try tree.make(group, limits: limits)
        }
        let error = try await expectError { _ = try await service.grep(FileGrep(pattern: "needle")) }
        #expect(error.code == .limit)
        try tree.remove(group)
    }

    @Test func globs() async throws {
        let workspace = try sample()
        func paths(_ request: FileGlob) async throws -> [String] { try await workspace.service.glob(request).paths }
        #expect(
            try await paths(FileGlob(pattern: "*.swift"))
                == [".hidden/x.swift", "src/main.swift", "src/sub/other.swift"])
        #expect(try await paths(FileGlob(pattern: "src/*.swift")) == ["src/main.swift"])
        #expect(try await paths(FileGlob(pattern: "**/*.{json,md}")) == ["README.md", "src/sub/data.json"])
        #expect(
            try await paths(FileGlob(pattern: "sub/*", path: "src")) == ["src/sub/data.json", "src/sub/other.swift"])
        #expect(try await paths(FileGlob(pattern: "*.txt", path: "sub")) == ["sub/keep.txt"])
        #expect(try await paths(FileGlob(pattern: "*.log")) == [])
        #expect(try await paths(FileGlob(pattern: "*.log", includeIgnored: true)) == ["debug.log"])
        #expect(try await paths(FileGlob(pattern: "config", includeIgnored: true)) == [])
        #expect(try await paths(FileGlob(pattern: "nothing")) == [])
        // Everything is everything but what is ignored.
        #expect(
            try await paths(FileGlob(pattern: "**"))
                == [
                    ".gitignore", ".hidden/x.swift", "README.md", "src/main.swift", "src/sub/data.json",
                    "src/sub/other.swift", "sub/.gitignore", "sub/keep.txt",
                ])
        let some = try await workspace.service.glob(FileGlob(pattern: "*.swift", limit: 2))
        #expect(some.paths == [".hidden/x.swift", "src/main.swift"])
        #expect(some.truncated)
        #expect(try await workspace.service.glob(FileGlob(pattern: "*.swift", limit: 3)).truncated == false)
    }

    @Test func greps() async throws {
        let workspace = try sample()
        #expect(
            try await grep(workspace, FileGrep(pattern: "needle"))
                == [
                    ".hidden/x.swift:1:needle", "README.md:1:needle", "README.md:3:needle again",
                    "src/main.swift:2:let needle = 1", "src/sub/data.json:1:{\"needle\": 2}", "sub/keep.txt:1:needle",
                ])
        #expect(try await grep(workspace, FileGrep(pattern: "NEEDLE", path: "src/sub", ignoreCase: true)).count == 2)
        #expect(
            try await grep(workspace, FileGrep(pattern: "^let \\w+ =", path: "src")) == [
                "src/main.swift:2:let needle = 1"
            ])
        #expect(
            try await grep(workspace, FileGrep(pattern: "needle", glob: "*.json")) == [
                "src/sub/data.json:1:{\"needle\": 2}"
            ])
        #expect(try await grep(workspace, FileGrep(pattern: "needle", path: "src", glob: "sub/*")).count == 1)
        #expect(try await grep(workspace, FileGrep(pattern: "{\"", fixedString: true)).count == 1)
        #expect(try await grep(workspace, FileGrep(pattern: "needle", path: "README.md")).first == "README.md:1:needle")
        #expect(try await grep(workspace, FileGrep(pattern: "needle", path: "debug.log")) == ["debug.log:1:needle"])
        #expect(try await grep(workspace, FileGrep(pattern: "absent")) == [])
        let all = try await workspace.service.grep(FileGrep(pattern: "needle", includeIgnored: true))
        #expect(all.filesWithMatches == 8)
        #expect(!all.matches.contains { $0.path.hasPrefix(".git/") })
        let some = try await workspace.service.grep(FileGrep(pattern: "needle", limit: 3))
        #expect(some.matches.count == 3)
        #expect(some.filesWithMatches == 2)
        #expect(some.truncated)
    }

    @Test func patternsCannotBeOptions() async throws {
        let workspace = try sample()
        try workspace.put("--files and -e\n", "dashes")
        #expect(try await grep(workspace, FileGrep(pattern: "--files")) == ["dashes:1:--files and -e"])
        #expect(try await grep(workspace, FileGrep(pattern: "-e")) == ["dashes:1:--files and -e"])
        #expect(try await workspace.service.glob(FileGlob(pattern: "--pre=/bin/sh")).paths == [])
    }

    @Test func badPatternsAreExplained() async throws {
        let workspace = try sample()
        let regex = try await expectError { try await workspace.service.grep(FileGrep(pattern: "a(b")) }
        #expect(regex.code == .invalid)
        #expect(regex.message.contains("unclosed group"))
        for pattern in ["", "{a", "a}", "[a", "[z-a]", "\\", "{a,{b,c}}"] {
            let error = try await expectError { try await workspace.service.glob(FileGlob(pattern: pattern)) }
            #expect(error.code == .invalid, "\(pattern)")
            #expect(error.details["field"] == "pattern")
        }
        let glob = try await expectError { try await workspace.service.grep(FileGrep(pattern: "a", glob: "{")) }
        #expect(glob.details["field"] == "glob")
        let multiline = try await expectError { try await workspace.service.grep(FileGrep(pattern: "a\nb")) }
        #expect(multiline.code == .invalid)
        let long = String(repeating: "a", count: Limits.searchPatternBytes + 1)
        #expect(try await expectError { try await workspace.service.grep(FileGrep(pattern: long)) }.code == .tooLarge)
        #expect(try await expectError { try await workspace.service.grep(FileGrep(pattern: "a\0b")) }.code == .invalid)
        #expect(
            try await expectError { try await workspace.service.grep(FileGrep(pattern: "a{99999}{99999}")) }.code
                == .invalid)
    }

    @Test func filesAboveTheLimitAreNotSearched() async throws {
        let workspace = try Workspace()
        // So much text before the hole that it is not taken for a binary file before the needle is told.
        for (name, size) in [("largest", Limits.searchFileBytes), ("larger", Limits.searchFileBytes + 1)] {
            try workspace.put("needle\n" + String(repeating: "hay\n", count: 100_000), name)
            truncate(workspace.path + "/" + name, off_t(size))
        }
        #expect(try await grep(workspace, FileGrep(pattern: "needle")) == ["largest:1:needle"])
        let error = try await expectError {
            try await workspace.service.grep(FileGrep(pattern: "needle", path: "larger"))
        }
        #expect(error.code == .tooLarge && error.details["limit"] == .integer(Int64(Limits.searchFileBytes)))
    }

    @Test func hostileNamesAndContents() async throws {
        let workspace = try Workspace()
        try workspace.put("needle\n", "new\nline")
        try workspace.put("needle\n", "1:2:three")
        try workspace.put("needle one\n" + String(repeating: "a", count: 70_000) + "\n\0needle\n", "binary")
        try workspace.put([0xff, 0xfe] + Array("needle".utf8) + [0xe4, 0x0a], "latin")
        try workspace.put(
            String(repeating: "ü", count: 3000) + "needle" + String(repeating: "x", count: 500_000), "long")
        try workspace.put("no\n\n\nneedle\n", "zz")
        let result = try await workspace.service.grep(FileGrep(pattern: "needle"))
        let byPath = Dictionary(grouping: result.matches, by: \.path)
        #expect(byPath["new\nline"]?.map(\.text) == ["needle"])
        #expect(byPath["1:2:three"]?.map(\.text) == ["needle"])
        #expect(byPath["latin"]?.map(\.text) == ["\u{fffd}\u{fffd}needle\u{fffd}"])
        #expect(byPath["long"]?.first?.text.utf8.count ?? 0 <= Limits.grepLineBytes)
        #expect(byPath["long"]?.first?.text.hasPrefix("üüü") == true)
        #expect(byPath["zz"]?.map(\.line) == [4])
        #expect(Set(byPath.keys).isSubset(of: ["new\nline", "1:2:three", "latin", "long", "zz", "binary"]))
    }

    /// All operations tell such a name in the same way.
    @Test func namesThatAreNotText() async throws {
        let workspace = try Workspace()
        try workspace.put("needle\n", "file")
        let name: [CChar] = Array(workspace.path.utf8CString.dropLast()) + [47, -1, 97, 0]
        try #require(rename(workspace.path + "/file", name) == 0)
        #expect(try await workspace.service.glob(FileGlob(pattern: "*a")).paths == ["\u{fffd}a"])
        #expect(try await grep(workspace, FileGrep(pattern: "needle")) == ["\u{fffd}a:1:needle"])
    }

    @Test func linksAreNotSearched() async throws {
        let workspace = try sample()
        try workspace.link(workspace.outside, "out")
        try workspace.link(workspace.outside + "/secret", "out-file")
        try workspace.link("src", "in")
        #expect(try await grep(workspace, FileGrep(pattern: "canary")) == [])
        #expect(try await workspace.service.glob(FileGlob(pattern: "**/*", path: "src")).paths.count == 3)
        #expect(try await workspace.service.glob(FileGlob(pattern: "secret")).paths == [])
        // A link to a directory inside may be named as the place to search.
        #expect(
            try await grep(workspace, FileGrep(pattern: "needle", path: "in")).first == "in/main.swift:2:let needle = 1"
        )
    }

    @Test(.needsRoot) func searchesAsTheContainersRoot() async throws {
        let workspace = try Workspace()
        try workspace.put("needle\n", "mine")
        try workspace.put("needle\n", "hosts")
        chown(workspace.path + "/hosts", 0, 0)
        chmod(workspace.path + "/hosts", 0o600)
        #expect(try await grep(workspace, FileGrep(pattern: "needle")) == ["mine:1:needle"])
    }
}
