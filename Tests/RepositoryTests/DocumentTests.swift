import Foundation
import Testing

@Suite("Documents")
struct DocumentTests {
    static let documents = ["README.md", "CONTRIBUTING.md"]

    static func all() throws -> [SourceTree.File] {
        try SourceTree.files(below: "docs", extensions: ["md"])
            + documents.map {
                SourceTree.File(
                    path: $0, text: try String(contentsOf: SourceTree.root.appending(path: $0), encoding: .utf8))
            }
    }

    /// Whoever sees a metric finds what it means, and no document tells of one that is gone.
    @Test func metricsAreExplained() throws {
        let source = try SourceTree.files(below: "Sources/Controller/Services/Metrics", extensions: ["swift"])
        let known = Set(source.flatMap { $0.text.matches(of: /"(fastable_[a-z_]+)"/).map { String($0.output.1) } })
        let operations = try #require(try Self.all().first { $0.path == "docs/operations.md" })
        let told = Set(operations.text.matches(of: /\| `(fastable_[a-z_]+)` \|/).map { String($0.output.1) })
        #expect(known.count > 10 && known == told, "\(known.symmetricDifference(told).sorted())")
    }

    /// Relative links must lead to a file of the repository.
    @Test func linksResolve() throws {
        let link = /\]\(([^)#\s]+)(#[^)]*)?\)/
        for document in try Self.all() {
            let folder = SourceTree.root.appending(path: document.path).deletingLastPathComponent()
            for match in document.text.matches(of: link) {
                let target = String(match.output.1)
                guard !target.contains("://"), !target.hasPrefix("mailto:") else { continue }
                #expect(
                    FileManager.default.fileExists(atPath: folder.appending(path: target).path),
                    "\(document.path) links to \(target), which does not exist")
            }
        }
    }

    /// A path in back quotes that looks like one of ours must exist: documents rot first in their paths.
    @Test func namedPathsExist() throws {
        let named = /`((?:Sources|Tests|scripts|docs|images|systemd|Benchmarks)\/[A-Za-z0-9_.\/+-]+)`/
        for document in try Self.all() {
            for match in document.text.matches(of: named) {
                let path = String(match.output.1)
                #expect(
                    FileManager.default.fileExists(atPath: SourceTree.root.appending(path: path).path),
                    "\(document.path) names \(path), which does not exist")
            }
        }
    }

    /// Each promise of docs/security.md names the test that attacks it, and that test exists.
    @Test func everyPromiseNamesItsTest() throws {
        let security = try String(contentsOf: SourceTree.root.appending(path: "docs/security.md"), encoding: .utf8)
        let tests = try SourceTree.files(below: "Tests", extensions: ["swift", "py"]).map(\.text).joined()
        let rows = security.split(separator: "\n").filter { $0.hasPrefix("| ") && !$0.hasPrefix("| ---") }
            .map { $0.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
            .filter { $0.count >= 2 && $0[0] != "promise" }
        #expect(rows.count >= 15, "the table of promises must be found")
        for row in rows {
            let names = (row.last ?? "").matches(of: /`([A-Za-z0-9_]+)`/).map { String($0.output.1) }
            #expect(!names.isEmpty, "‘\(row[0])’ names no test")
            for name in names {
                #expect(
                    tests.contains("func \(name)(") || tests.contains("def \(name)("),
                    "the test ‘\(name)’ does not exist")
            }
        }
    }
}
