import Testing

/// Which module of ours may import which. A new arrow is a decision: it must be added here, and it must point down.
@Suite("Imports point down")
struct ImportTests {
    static let allowed: [(folder: String, imports: Set<String>)] = [
        ("Sources/Shared/Core", []),
        ("Sources/Shared/Wire", ["FastableCore"]),
        ("Sources/Shared/Identity", ["FastableCore"]),
        ("Sources/Shared/Daemon", ["FastableCore", "CLinux"]),
        ("Sources/Shared/Compression", ["FastableCore", "CZstd"]),
        ("Sources/Shared/Archive", ["FastableCore"]),
        ("Sources/Controller/Domain", ["FastableCore"]),
        ("Sources/Controller/Store", ["FastableCore", "ControllerDomain"]),
        ("Sources/Controller/Fleet", ["FastableCore", "FastableWire", "FastableIdentity", "ControllerDomain"]),
        (
            "Sources/Controller/Services",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "FastableCompression", "FastableArchive",
                "ControllerDomain", "ControllerStore", "ControllerFleet",
            ]
        ),
        ("Sources/Controller/API", ["FastableCore", "FastableWire", "ControllerDomain", "ControllerServices"]),
        ("Sources/NodeAgent/Linux", ["FastableCore", "CLinux"]),
        ("Sources/NodeAgent/Files", ["FastableCore", "FastableCompression", "FastableArchive", "NodeLinux", "CLinux"]),
        ("Sources/NodeAgent/Sandbox", ["FastableCore", "FastableWire", "NodeLinux", "NodeFiles", "CLinux"]),
        (
            "Sources/NodeAgent/Control",
            ["FastableCore", "FastableWire", "FastableIdentity", "NodeLinux", "NodeFiles", "NodeSandbox"]
        ),
        ("Sources/CLI", ["FastableCore", "FastableWire", "FastableCompression"]),
        ("Sources/Init", ["CLinux"]),
    ]

    static let prefixes = ["Fastable", "Controller", "Node", "CLinux", "CZstd"]

    @Test(arguments: allowed.indices)
    func onlyTheseAreImported(index: Int) throws {
        let rule = Self.allowed[index]
        for file in try SourceTree.files(below: rule.folder, extensions: ["swift"]) {
            for line in file.lines {
                let words = line.split(separator: " ")
                guard let position = words.firstIndex(of: "import"), position <= 1, let module = words.last else {
                    continue
                }
                guard Self.prefixes.contains(where: { module.hasPrefix($0) }) else { continue }
                #expect(rule.imports.contains(String(module)), "\(file.path) must not import \(module)")
            }
        }
    }

    /// The domain decides; it must not see how anything is sent or stored.
    @Test func theDomainIsPure() throws {
        for file in try SourceTree.files(below: "Sources/Controller/Domain", extensions: ["swift"]) {
            for banned in ["import NIO", "import GRDB", "import Hummingbird", "import Foundation\n"] {
                #expect(!file.text.contains(banned), "\(file.path): \(banned)")
            }
        }
    }
}
