import Foundation
import TestSupport
import Testing

@Suite struct ProgramTests {
    /// A build host has no toolchain: what the programs load must come with the system.
    @Test(arguments: ["fastable", "fastable-controller", "fastable-node", "fastable-init"])
    func aProgramNeedsNoToolchain(name: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/ldd")
        process.arguments = [try #require(BuiltProgram.path(name))]
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: try output.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
        process.waitUntilExit()
        let isStatic = text.contains("not a dynamic executable")
        #expect(isStatic == (name == "fastable-init") && (isStatic || text.contains("libc.so")), "\(text)")
        for library in ["libswift", "libFoundation", "libdispatch", "not found"] {
            #expect(!text.contains(library), "\(text)")
        }
    }
}
