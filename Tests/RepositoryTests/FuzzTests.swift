import Foundation
import Testing

/// What is fuzzed is what runs in the product. The fuzzer is not built by the gate, so what would break it is looked for here.
@Suite("The fuzzer")
struct FuzzTests {
    /// A call that is not simulated would reach the kernel of the machine that runs the tests.
    @Test func everySystemCallOfInitIsSimulated() throws {
        let header = try SourceTree.files(below: "Sources/CLinux/include", extensions: ["h"])
            .filter { $0.path.hasSuffix("init_sys.h") }
        let known = Self.names(/\b(fastable_\w+)\(/, in: header)
        let called = Self.names(
            /\b(fastable_\w+)\(/, in: try SourceTree.files(below: "Sources/Init", extensions: ["swift"]))
        let simulated = Self.names(
            /^func (fastable_\w+)\(/.anchorsMatchLineEndings(),
            in: try SourceTree.files(below: "Tests/SimulatedInit", extensions: ["swift"]))
        #expect(known.count > 30 && called.count > 30, "the scan must have found the calls")
        let missing = called.intersection(known).subtracting(simulated).sorted()
        #expect(missing.isEmpty, "Tests/SimulatedInit lacks \(missing)")
    }

    private static func names(
        _ pattern: Regex<(Substring, Substring)>, in files: [SourceTree.File]
    ) -> Set<String> {
        Set(files.flatMap { $0.text.matches(of: pattern).map { String($0.output.1) } })
    }

    /// Its package takes some files of a module; they exist, and import no more than it declares.
    @Test func itsFilesExistAndNeedNothingElse() throws {
        let text = try String(contentsOf: SourceTree.root.appending(path: "Fuzz/Package.swift"), encoding: .utf8)
        let declaration = /module\(\s*"(\w+)",\s*"([^"]+)",\s*\[([^\]]*)\],\s*files:\s*\[([^\]]*)\]/
        let modules = text.matches(of: declaration)
        #expect(modules.count == 3, "the scan must have found the modules")
        for module in modules {
            let declared = Set(Self.quoted(module.output.3)).union([
                "NIOCore", "Glibc", "FoundationEssentials", "Synchronization",
            ])
            for name in Self.quoted(module.output.4) {
                let path = "\(module.output.2)/\(name)"
                let source = try String(contentsOf: SourceTree.root.appending(path: path), encoding: .utf8)
                let imported = Set(source.matches(of: /(?m)^\s*(?:\w+ )?import (\w+)/).map { String($0.output.1) })
                let others = imported.subtracting(declared).sorted()
                #expect(others.isEmpty, "\(path) imports \(others), which the fuzzer is built without")
            }
        }
    }

    private static func quoted(_ list: Substring) -> [String] {
        list.matches(of: /"([^"]+)"/).map { String($0.output.1) }
    }
}
