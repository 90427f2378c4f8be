import Testing

/// Words that must not stand in the sources, each with what to use instead.
@Suite("Banned constructs")
struct BannedTests {
    static let banned: [(text: String, instead: String, except: Set<String>)] = [
        ("try! ", "throw a FastableError", []),
        ("fatalError(", "throw a FastableError; a peer's input must never end a daemon", []),
        ("TODO", "finish it, or file an issue and name its owner in the docs", []),
        ("FIXME", "finish it, or file an issue and name its owner in the docs", []),
        ("XCTest", "Swift Testing", []),
        ("/bin/sh\", \"-c\"", "HostCommand with fixed arguments", []),
        ("nonisolated(unsafe)", "Mutex or an actor", []),
        // Of the wrong level: it sets SO_DEBUG, which only root may, and every connection of another user is closed.
        ("socketOption(.tcp_", "tcpOption", []),
        ("TLSConfiguration.make", "TLSProfiles", ["Sources/Shared/Identity/TLSProfiles.swift"]),
    ]

    @Test func noneIsUsed() throws {
        for file in try SourceTree.files(below: "Sources", extensions: ["swift", "c", "h"]) {
            for rule in Self.banned where !rule.except.contains(file.path) {
                #expect(!file.text.contains(rule.text), "\(file.path) uses ‘\(rule.text)’; \(rule.instead)")
            }
        }
    }

    /// A name that is made from the type's costs each start of the CLI a search through all that conforms to any protocol, for each
    /// command there is: half of its time.
    @Test func eachCommandNamesItself() throws {
        for file in try SourceTree.files(below: "Sources/CLI", extensions: ["swift"]) {
            for configuration in file.text.split(separator: "CommandConfiguration(").dropFirst() {
                let isNamed = configuration.drop(while: \.isWhitespace).hasPrefix("commandName:")
                #expect(isNamed, "\(file.path): \(configuration.prefix(60))")
            }
        }
    }

    /// Tests run against release builds, in which testable imports do not exist.
    @Test func testsUsePackageAccess() throws {
        for file in try SourceTree.files(below: "Tests", extensions: ["swift"])
        where !file.path.contains("RepositoryTests") {
            #expect(!file.text.contains("@testable"), "\(file.path): use package access instead")
        }
    }
}
