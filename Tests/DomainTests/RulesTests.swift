import ControllerDomain
import FastableCore
import Testing

@Suite struct RulesTests {
    static let longest = String(repeating: "a", count: 63)

    @Test(arguments: ["a", "0", "demo", "my-app-2", "a--b", longest])
    func projectNamesThatAreAllowed(_ name: String) throws { try Rules.projectName(name) }

    @Test(
        arguments: [
            "", "-", "-a", "a-", "A", "aB", "a_b", "a.b", "a b", " a", "a\n", "ä", "é", "a\u{0}", "../a", "a/b",
            "prj_x",
            longest + "a", "\u{202e}a", "a\u{301}",
        ])
    func projectNamesThatAreRefused(_ name: String) { refuses(field: "name") { try Rules.projectName(name) } }

    @Test func noProjectNameLooksLikeAnID() {
        refuses(field: "name") { try Rules.projectName(ProjectID().description) }
    }

    @Test(arguments: ["vibn-dev", "ubuntu-24.04", "a_b", "a", longest])
    func imageNamesThatAreAllowed(_ name: String) throws { try Rules.imageName(name) }

    @Test(arguments: ["", ".", "..", "a..b", "a/b", "/a", "a:b", "A", "-a", ".a", "a.", "a\u{0}", longest + "a"])
    func imageNamesThatAreRefused(_ name: String) { refuses(field: "image") { try Rules.imageName(name) } }

    @Test(arguments: ["ci", "Anna’s laptop", "日本", "a b"])
    func tokenNamesThatAreAllowed(_ name: String) throws { try Rules.tokenName(name) }

    @Test(arguments: ["", " a", "a ", "a\nb", "\u{1b}[31m", "\u{202e}x", longest + "a"])
    func tokenNamesThatAreRefused(_ name: String) { refuses(field: "name") { try Rules.tokenName(name) } }

    @Test func environmentsThatAreAllowed() throws {
        try Rules.environment([:])
        try Rules.environment(["PATH": "/bin", "_x9": "", "A": "line 1\nline 2 = ä"])
    }

    @Test(arguments: ["", "1A", "A-B", "A B", "A=B", "Ä", "A\u{0}", "A.B"])
    func variableNamesThatAreRefused(_ name: String) {
        #expect(throws: FastableError.self) { try Rules.environment([name: "x"]) }
    }

    @Test func environmentsThatAreTooLargeOrHaveNUL() {
        refuses(field: "environment.A") { try Rules.environment(["A": "x\u{0}y"]) }
        let many = Dictionary(uniqueKeysWithValues: (0...Limits.execEnvironmentEntries).map { ("A\($0)", "") })
        refuses(field: "environment") { try Rules.environment(many) }
        let large = ["A": String(repeating: "x", count: Limits.execArgumentBytes)]
        refuses(field: "environment") { try Rules.environment(large) }
    }

    @Test(arguments: ["main", "feature/a-b", "v1.2.3", "a@b", "ä"])
    func branchesThatAreAllowed(_ name: String) throws { try Rules.gitBranch(name) }

    @Test(
        arguments: [
            "", "-x", "--upload-pack=touch", "a b", "a..b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a.lock",
            "a.lock/b", "/a", "a/", "a//b", ".a", "a/.b", "a.", "a@{1}", "@", "HEAD", "a\nb", "a\u{7f}",
            String(repeating: "a", count: 251),
        ])
    func branchesThatAreRefused(_ name: String) { refuses(field: "branch") { try Rules.gitBranch(name) } }
}

/// Expects `unprocessable` that names the field.
func refuses(field: String, _ body: () throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) {
    let error = #expect(throws: FastableError.self, sourceLocation: sourceLocation) { try body() }
    #expect(error?.code == .unprocessable, sourceLocation: sourceLocation)
    #expect(error?.details["field"] == .string(field), sourceLocation: sourceLocation)
}
