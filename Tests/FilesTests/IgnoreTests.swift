import FastableCore
import FoundationEssentials
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

/// What is searched is what ripgrep itself would search, file for file, whatever ignore files say.
@Suite(.endsInTime) struct IgnoreTests {
    /// A real source tree, which `scripts/real-tree.sh` fetches.
    static let realTree = ProcessInfo.processInfo.environment["FASTABLE_REAL_TREE"]

    private static let common = [
        "--no-config", "--hidden", "--no-require-git", "--no-ignore-global", "--sort=path", "--color=never",
    ]

    private func ripgrep(_ arguments: [String], in directory: String) async throws -> [String] {
        let result = try await HostCommand("rg", Self.common + arguments, workingDirectory: .path(directory)).run(
            timeout: .seconds(300), outputLimit: 64 << 20)
        return result.text.split(separator: "\n").map(String.init)
    }

    /// What `rg --files -g PATTERN` gives, without the files that its `-g` takes out of ignored ones.
    private func files(_ pattern: String, in directory: String) async throws -> [String] {
        let unignored = Set(try await ripgrep(["--files", "--glob=!.git"], in: directory))
        let matching = try await ripgrep(
            ["--files", "--no-ignore", "--glob=\(pattern)", "--glob=!.git"], in: directory)
        return matching.filter { unignored.contains($0) }.sorted()
    }

    // MARK: a real tree

    private static let ignoreFiles = [
        ".gitignore": """
        # kinds of rules, on top of the tree's own
        *.po
        *.mo
        !django/conf/locale/de/**/*.po
        /docs/releases/*
        !/docs/releases/5.*.txt
        tests/**/fixtures/
        static/
        !django/contrib/admin/static/
        *.min.js
        [Mm]akefile
        a*/**/z*
        \\#odd
        trailing   
        """,
        "django/.gitignore": "contrib/*/locale\n!contrib/auth/locale\n__init__.py\n!utils/__init__.py\n*/db/\n",
        "tests/.gitignore": "/[a-f]*/\n!/admin_*/\nurls.py\n*/templates/**\n!*/templates/*.html\n",
        "docs/.ignore": "*.txt\n!index.txt\n!/howto/\n", "js_tests/.rgignore": "admin/\n!admin/core.test.js\n",
        ".git/info/exclude": "/scripts/\nAUTHORS\n", "vendor/.gitignore": "*\n!*.py\n!*/\n",
        "vendor/.git/HEAD": "ref: x\n", "extras/.gitignore": "*\n!.gitignore\n",
    ]

    private func realWorkspace() async throws -> Workspace {
        let tree = try #require(Self.realTree)
        let workspace = try Workspace()
        try await HostCommand("cp", ["-a", tree + "/.", workspace.path]).runChecked(
            "copy the tree", timeout: .seconds(300))
        for (name, text) in Self.ignoreFiles {
            let own = try? workspace.text(name)
            try workspace.put((own ?? "") + "\n" + text, name)
        }
        try workspace.link("django", "linked")
        try workspace.link("../docs", "tests/docs")
        return workspace
    }

    @Test(.enabled(if: realTree != nil, "no real tree was fetched (scripts/real-tree.sh)"))
    func globEqualsRipgrepOnARealTree() async throws {
        let workspace = try await realWorkspace()
        var total = 0
        for path in [".", "django", "django/contrib/admin", "tests", "docs/releases", "vendor"] {
            for pattern in [
                "**", "*.py", "*.html", "*.{txt,js,po}", "**/locale/**", "*/*.py", "!*.py", "!tests", "test*",
                "[a-m]*.py", "urls.py", "a*/**/*.py", "/setup.*", "**/templates/**/*.html", ".*", "*ü*",
            ] {
                let ours = try await workspace.service.glob(FileGlob(pattern: pattern, path: path))
                let expected = try await files(pattern, in: workspace.path + "/" + path)
                    .map { path == "." ? $0 : "\(path)/\($0)" }
                #expect(Set(ours.paths) == Set(expected), "‘\(pattern)’ in ‘\(path)’")
                #expect(ours.paths == ours.paths.sorted() && !ours.truncated)
                total += ours.paths.count
            }
        }
        #expect(total > 10_000)
        // Where no ignored file matches, that is word for word what `rg --files -g` gives.
        for pattern in ["*.cfg", "conftest.py", "*.toml", "docs/index.txt"] {
            let direct = try await ripgrep(["--files", "--glob=\(pattern)", "--glob=!.git"], in: workspace.path)
            #expect(try await workspace.service.glob(FileGlob(pattern: pattern)).paths == direct.sorted())
        }
        let all = try await workspace.service.glob(FileGlob(pattern: "*.po", includeIgnored: true, limit: 10_000))
        let direct = try await ripgrep(
            ["--files", "--no-ignore", "--glob=*.po", "--glob=!.git"], in: workspace.path)
        #expect(all.paths == direct.sorted())
    }

    @Test(.enabled(if: realTree != nil, "no real tree was fetched (scripts/real-tree.sh)"))
    func grepEqualsRipgrepOnARealTree() async throws {
        let workspace = try await realWorkspace()
        var total = 0
        for path in [".", "django", "tests", "docs/howto", "vendor"] {
            for (pattern, more) in [
                ("class [A-Z]\\w+View\\b", []), ("msgid \"Monday\"", []), ("^from django\\.db import", []),
                ("deprecat", ["--ignore-case", "--glob=*.txt"]), ("jQuery", ["--fixed-strings"]),
                ("\\bé", []), ("TODO|FIXME", ["--glob=!tests"]), ("(?i)https://docs", []),
            ] as [(String, [String])] {
                let glob = more.first { $0.hasPrefix("--glob=") }.map { String($0.dropFirst(7)) }
                let ours = try await workspace.service.grep(
                    FileGrep(
                        pattern: pattern, path: path, glob: glob, ignoreCase: more.contains("--ignore-case"),
                        fixedString: more.contains("--fixed-strings")))
                let directory = workspace.path + "/" + path
                let unignored = Set(try await ripgrep(["--files", "--glob=!.git"], in: directory))
                let direct = try await ripgrep(
                    ["--no-heading", "--with-filename", "-n", "--regexp=\(pattern)"] + more + ["--glob=!.git"],
                    in: directory
                ).filter { unignored.contains(String($0.prefix { $0 != ":" })) }
                let prefix = path == "." ? "" : path + "/"
                #expect(
                    ours.matches.map { "\($0.path):\($0.line):\($0.text)" } == direct.map { prefix + $0 },
                    "‘\(pattern)’ in ‘\(path)’")
                #expect(!ours.truncated)
                total += direct.count
            }
        }
        #expect(total > 500)
    }

    // MARK: random rules

    @Test func randomRulesAreUnderstoodAsRipgrepDoes() async throws {
        var generator = SeededGenerator()
        let pieces = [
            "*", "**", "/", "a", "b", "?", ".c", "{a,b}", "[ab]", "[!a]", "d", "**/", "/**", "\\ ", "!", "e", " ", "#",
            "\\!", "ab", "-", "ü",
        ]
        for round in 0..<150 {
            let workspace = try Workspace(inMemory: true)
            let directories = ["", "d/", "e/", "d/q/", "e/b.c/", "d/q/e/", "ab/", "a b.d/"]
            for directory in directories {
                for name in ["a", "b", "a.c", "ab.c", "ü", "a b", "!a", "-"] where Bool.random(using: &generator) {
                    try workspace.put("x\n", directory + name)
                }
                for name in [".gitignore", ".ignore", ".rgignore"] where Int.random(in: 0..<4, using: &generator) == 0 {
                    let lines = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
                        (0..<Int.random(in: 1...4, using: &generator)).map { _ in
                            pieces.randomElement(using: &generator) ?? "*"
                        }.joined()
                    }
                    try workspace.put(lines.joined(separator: "\n"), directory + name)
                }
                if Int.random(in: 0..<8, using: &generator) == 0 {
                    try workspace.put("*.c\n!a.c\n", directory + ".git/info/exclude")
                }
            }
            let path = ["", "d", "d/q"].randomElement(using: &generator) ?? ""
            guard path.isEmpty || workspace.exists(path) else { continue }
            let expected = try await ripgrep(["--files", "--glob=!.git"], in: workspace.path + "/" + path)
                .map { path.isEmpty ? $0 : "\(path)/\($0)" }
            let place = path.isEmpty ? "." : path
            let found = try await workspace.service.glob(FileGlob(pattern: "**", path: place)).paths
            #expect(Set(found) == Set(expected), "round \(round), seed \(generator.seed)")
            let matched = try await workspace.service.grep(FileGrep(pattern: "^x$", path: place)).matches.map(\.path)
            let searched = expected.filter { !$0.hasSuffix("ignore") }
            #expect(Set(matched) == Set(searched), "round \(round), seed \(generator.seed)")
        }
    }

    // MARK: hostile ones

    @Test func hostileIgnoreFilesLeadNowhere() async throws {
        let workspace = try Workspace()
        // If the link were followed, the file that the secret names would be left out.
        try workspace.put("needle\n", Workspace.canary)
        try workspace.link(workspace.outside + "/secret", ".gitignore")
        try workspace.link("/dev/zero", "zero/.gitignore")
        try workspace.link("../../outside/secret", "d/.ignore")
        try workspace.put("needle\n", "d/" + Workspace.canary)
        for name in ["zero/x", "fifo/x", "directory/x", "worktree/" + Workspace.canary, "exclude/" + Workspace.canary] {
            try workspace.put("needle\n", name)
        }
        try Errno.check { mkfifo(workspace.path + "/fifo/.gitignore", 0o666) }
        try workspace.makeDirectories("directory/.gitignore/x")
        try workspace.put("gitdir: sub\n", "worktree/.git")
        try workspace.put(workspace.outside + "\n", "worktree/sub/commondir")
        try workspace.link(workspace.outside + "/secret", "exclude/.git/info/exclude")
        // What never ends is given up after `Limits.searchSeconds`, with an error.
        let found = try await workspace.service.glob(FileGlob(pattern: "**")).paths
        let matches = try await workspace.service.grep(FileGrep(pattern: "needle")).matches.map(\.path)
        let wanted = [
            Workspace.canary, "d/" + Workspace.canary, "zero/x", "fifo/x", "directory/x",
            "worktree/" + Workspace.canary, "exclude/" + Workspace.canary,
        ]
        #expect(Set(wanted).isSubset(of: found))
        #expect(Set(matches) == Set(wanted))
    }

    @Test func namesThatNoRuleCanSpellAreLeftOutToo() async throws {
        let workspace = try Workspace()
        try workspace.put("*\n!*/\n!keep\n", ".gitignore")
        for name in ["a\nb", "tab\t", "nbsp\u{a0}", "[x]", "{y}", "*", "a\\b", "!a", "#a", " a ", "d\n/x", "keep"] {
            try workspace.put("needle\n", name)
        }
        #expect(try await workspace.service.grep(FileGrep(pattern: "needle")).matches.map(\.path) == ["keep"])
        #expect(try await workspace.service.glob(FileGlob(pattern: "**")).paths == ["keep"])
    }

    @Test func tooManyRulesAreToldAndNotDropped() async throws {
        let workspace = try Workspace()
        try workspace.put(String(repeating: "x\n", count: Limits.ignoreRules + 1), "many/.gitignore")
        try workspace.put(String(repeating: "#", count: Limits.ignoreFileBytes + 1), "long/.gitignore")
        try workspace.put("needle\n", "file")
        for path in ["many", "long"] {
            let attempts: [() async throws -> Void] = [
                { _ = try await workspace.service.glob(FileGlob(pattern: "**", path: path)) },
                { _ = try await workspace.service.grep(FileGrep(pattern: "needle", path: path)) },
            ]
            for attempt in attempts {
                let error = try await expectError { try await attempt() }
                #expect(error.code == .limit && error.details["path"] == .string("\(path)/.gitignore"))
            }
        }
        let all = try await workspace.service.grep(FileGrep(pattern: "needle", includeIgnored: true))
        #expect(all.matches.map(\.path) == ["file"])
    }

    /// Paths that are long make few files enough.
    @Test func moreThanASearchRemembersIsTold() async throws {
        let workspace = try Workspace(inMemory: true)
        let directory = (10..<24).map { "\($0)" + String(repeating: "d", count: 250) }.joined(separator: "/")
        try workspace.put("needle\n", directory + "/keep")
        try workspace.put("*\n!keep\n", directory + "/.gitignore")
        let service = workspace.service
        #expect(try await service.grep(FileGrep(pattern: "needle")).matches.map(\.path) == [directory + "/keep"])
        for index in 0...(Limits.searchIgnoredBytes / directory.utf8.count) {
            close(creat("\(workspace.path)/\(directory)/\(index)", 0o644))
        }
        var error = try await expectError { try await service.grep(FileGrep(pattern: "needle")) }
        // Without optimization, and on a busy machine, the time of a search may be over before it has come that far.
        for _ in 0..<5 where error.code == .timeout {
            error = try await expectError { try await service.grep(FileGrep(pattern: "needle")) }
        }
        #expect(error.code == .limit && error.message.contains("includeIgnored"))
        #expect(error.details["limit"] == .integer(Int64(Limits.searchIgnoredBytes)))
        // These remember nothing, or so much less that it fits.
        #expect(try await service.glob(FileGlob(pattern: "**")).paths == [directory + "/keep"])
        for request in [
            FileGrep(pattern: "needle", includeIgnored: true), FileGrep(pattern: "needle", path: directory),
        ] {
            #expect(try await service.grep(request).matches.map(\.path) == [directory + "/keep"])
        }
    }
}
