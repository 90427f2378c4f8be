import FastableCore
import Testing

@Suite struct NodeNameTests {
    private static let longest = String(repeating: "a", count: 63)

    @Test(arguments: ["build-1", "build-1.example.com", "a", "0", longest])
    func areAllowed(_ name: String) throws { try NodeName.check(name) }

    @Test(
        arguments: [
            "", ".", "..", "a..b", ".a", "a.", "-a", "a-", "A.b", "a_b", "a/b", "a b", "a\n", "ä", "a\u{0}",
            longest + "a",
        ])
    func areRefused(_ name: String) {
        let error = #expect(throws: FastableError.self) { try NodeName.check(name) }
        #expect(error?.code == .unprocessable)
        #expect(error?.details["field"] == "name")
    }

    @Test(arguments: [
        ("Build_1.Example.COM", "build-1.example.com"), ("-a-", "a"), ("a.", "a"), (longest + "b", longest),
        (String(repeating: "a", count: 62) + "-b", String(repeating: "a", count: 62)), ("__", ""), ("", ""),
    ])
    func aHostNameIsBroughtIntoForm(hostName: String, name: String) {
        #expect(NodeName.suggestion(hostName: hostName) == name)
    }
}
