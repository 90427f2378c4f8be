import Foundation
import Testing

/// Package.swift names for each target the modules that it imports: all of them, and no others. The package manager has an
/// option for the first half (`--explicit-target-dependency-import-check`), which finds nothing with the toolchain of Swift 6.3.
@Suite("Package.swift tells what depends on what")
struct DependencyTests {
    private struct Target {
        var name: String
        var folder: String
        var dependencies: Set<String>
    }

    /// What comes with the toolchain.
    private static let toolchain: Set<String> = [
        "Darwin", "Dispatch", "Foundation", "FoundationEssentials", "Glibc", "Musl", "Synchronization", "Testing",
    ]

    @Test func everyImportIsDeclaredAndEveryDependencyIsImported() throws {
        let targets = try Self.targets()
        #expect(targets.count > 25, "the scan must have found the targets")
        #expect(try !Self.imports(below: "Sources/Shared/Wire").isEmpty, "the scan must have found the imports")
        for target in targets {
            let imported = try Self.imports(below: target.folder)
            let missing = imported.subtracting(target.dependencies).sorted()
            #expect(missing.isEmpty, "\(target.name) imports \(missing), which Package.swift does not name for it")
            // Every test target has the shared support, whether it needs it or not.
            let unused = target.dependencies.subtracting(imported).subtracting(["TestSupport"]).sorted()
            #expect(unused.isEmpty, "Package.swift names \(unused) for \(target.name), which imports none of them")
        }
    }

    private static func targets() throws -> [Target] {
        let text = try String(contentsOf: SourceTree.root.appending(path: "Package.swift"), encoding: .utf8)
        let product = /let (\w+) = Target\.Dependency\.product\(name: "(\w+)"/
        let products = Dictionary(
            text.matches(of: product).map { (String($0.output.1), String($0.output.2)) }, uniquingKeysWith: { $1 })
        let declaration = /(module|program|tests)\(\s*"([\w-]+)",\s*(?:"([^"]+)",\s*)?\[([^\]]*)\]/
        return text.matches(of: declaration).map { match in
            let name = String(match.output.2)
            let named = match.output.4.split { $0 == "," || $0.isWhitespace }.map { word in
                word.hasPrefix("\"") ? String(word.dropFirst().dropLast()) : products[String(word)] ?? String(word)
            }
            return Target(
                name: name, folder: match.output.3.map(String.init) ?? "Tests/\(name)",
                dependencies: Set(named).union(match.output.1 == "tests" ? ["TestSupport"] : []))
        }
    }

    private static func imports(below folder: String) throws -> Set<String> {
        let statement =
            /^\s*(?:(?:public|package|internal|@preconcurrency) )*import (?:(?:struct|enum|class|func) )?(\w+)/
        var modules: Set<String> = []
        for file in try SourceTree.files(below: folder, extensions: ["swift"]) {
            for line in file.lines {
                if let match = line.firstMatch(of: statement) { modules.insert(String(match.output.1)) }
            }
        }
        return modules.subtracting(toolchain)
    }
}
