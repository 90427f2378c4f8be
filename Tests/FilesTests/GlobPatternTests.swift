import FastableCore
import Glibc
import NodeFiles
import NodeLinux
import TestSupport
import Testing

@Suite struct GlobPatternTests {
    @Test(arguments: [
        ("*.c", "a.c", true), ("*.c", "d/a.c", true), ("*.c", "a.cc", false), ("/*.c", "d/a.c", false),
        ("d/*.c", "d/a.c", true), ("d/*.c", "d/e/a.c", false), ("d/**", "d/e/a.c", true), ("d/**", "d", false),
        ("**/a.c", "a.c", true), ("d/**/a.c", "d/a.c", true), ("d/**/a.c", "d/e/f/a.c", true), ("a?c", "abc", true),
        ("a?c", "a/c", false), ("[ab].c", "b.c", true), ("[!ab].c", "b.c", false), ("[!ab].c", "c.c", true),
        ("[a-c]x", "bx", true), ("[]]x", "]x", true), ("[a-]x", "-x", true), ("[--a]x", "/x", true),
        ("d[!a]f", "d/f", true), ("{a,b*}.c", "bcd.c", true), ("{a,b}.c", "c.c", false), ("{a,}x", "x", false),
        ("a,b", "a,b", true), ("\\*", "*", true), ("\\*", "a", false), ("!*.c", "a.c", false), ("!*.c", "a.h", true),
        ("*", ".hidden", true), ("**", "a/b/c", true), ("***", "a/b", true), ("a**b", "axxb", true),
        ("a**b", "a/b", false), ("src/{a,b}/**/*.{ts,tsx}", "src/b/x/y.tsx", true), ("?", "u", true),
        // A ‘?’ is one byte, as it is to ripgrep.
        ("?", "ü", false), ("??", "ü", true), ("*.c", "", false), ("d/", "d", false), ("#x", "anything", true),
        ("x ", "x", true), ("x\\ ", "x ", true), ("\\!x", "!x", true),
    ]) func matches(_ pattern: String, _ path: String, _ expected: Bool) throws {
        #expect(try SearchPattern(pattern, field: "pattern").accepts(file: Array(path.utf8)) == expected)
    }

    @Test func hostilePatternsAreLinear() throws {
        let pattern = try SearchPattern(String(repeating: "*a", count: 200) + "b", field: "pattern")
        let alternatives = try SearchPattern(String(repeating: "{a,aa,*}", count: 100) + "b", field: "pattern")
        let path = [UInt8](repeating: UInt8(ascii: "a"), count: 2000)
        let seconds = threadSeconds {
            #expect(!pattern.accepts(file: path))
            #expect(!alternatives.accepts(file: path))
        }
        #expect(seconds < 20)
    }

    /// Whatever pattern there is, ripgrep's `--glob` must agree.
    @Test func agreesWithRipgrep() async throws {
        let workspace = try Workspace()
        var generator = SeededGenerator()
        let names = ["a", "b", "ab", "a.c", "b.c", "[x]", "a-b", "{y}", "ü", "a b", "!a"]
        var files: Set<String> = []
        for _ in 0..<80 {
            let depth = Int.random(in: 0...3, using: &generator)
            let directories = (0..<depth).map { _ in ["d", "e", "ab"].randomElement(using: &generator) ?? "d" }
            let name = (names.randomElement(using: &generator) ?? "a") + ".f"
            files.insert((directories + [name]).joined(separator: "/"))
        }
        for file in files { try workspace.put("", file) }
        let pieces = [
            "*", "**", "/", "a", "b", "?", ".f", "{a,b}", "[ab]", "[!a]", "d", "**/", "/**", "\\[", "-", ".c", "e",
            "{a*,}", "{**/a,b}", "ü", "!", " ", "[a-]", "{d/**,e}",
        ]
        var compared = 0
        for _ in 0..<500 {
            let pattern = (0..<Int.random(in: 1...5, using: &generator)).map { _ in
                pieces.randomElement(using: &generator) ?? "*"
            }.joined()
            let direct = try await HostCommand(
                "rg", ["--no-config", "--files", "--hidden", "--glob=\(pattern)"],
                workingDirectory: .path(workspace.path)
            ).run()
            guard let ours = try? SearchPattern(pattern, field: "pattern") else {
                #expect(direct.text.isEmpty, "‘\(pattern)’, seed \(generator.seed)")
                continue
            }
            #expect(direct.stderr.isEmpty, "‘\(pattern)’: \(direct.errorText), seed \(generator.seed)")
            let expected = Set(direct.text.split(separator: "\n").map(String.init))
            let actual = try await workspace.service.glob(FileGlob(pattern: pattern))
            #expect(Set(actual.paths) == expected, "‘\(pattern)’, seed \(generator.seed)")
            #expect(files.filter { ours.accepts(file: Array($0.utf8)) }.count >= expected.count)
            compared += 1
        }
        #expect(compared > 200)
    }
}
