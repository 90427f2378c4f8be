#if canImport(Glibc)
    import Glibc
#endif

/// The programs that were built with the tests.
package enum BuiltProgram {
    /// In the folder that FASTABLE_BIN_DIR names, else beside the tests themselves; `nil` where it was not built.
    package static func path(_ name: String) -> String? {
        folders.map { $0 + "/" + name }.first { access($0, X_OK) == 0 }
    }

    private static let folders: [String] = {
        if let folder = getenv("FASTABLE_BIN_DIR") { return [String(cString: folder)] }
        guard let own = realpath("/proc/self/exe", nil) else { return [] }
        defer { free(own) }
        return ([String(cString: own)] + CommandLine.arguments).compactMap { program in
            program.lastIndex(of: "/").map { String(program[..<$0]) }
        }
    }()
}
