import FastableCore
import Glibc
import NodeLinux
import NodeSandbox
import TestSupport

/// The host's runc, except that it cannot delete containers while it is told so: it fails as runc does when the kernel does not let
/// a control group go, and what it knows of the container stays. It can also be held before it starts one.
struct FaultyRuntime: Sendable {
    let program: String
    private let directory: TemporaryDirectory
    private let stuck: String
    private let held: String
    private let holding: String

    private init() throws {
        directory = try TemporaryDirectory(mode: 0o711)
        program = directory.path + "/runc"
        stuck = directory.path + "/stuck"
        held = directory.path + "/held"
        holding = directory.path + "/holding"
        let script = """
            #!/bin/sh
            for word in "$@"; do
                if [ "$word" = delete ] && [ -e \(stuck) ]; then
                    echo 'unable to destroy container: unable to remove container cgroup: device or resource busy' >&2
                    exit 1
                fi
                if [ "$word" = run ] && [ -e \(held) ]; then
                    : > \(holding)
                    while [ -e \(held) ]; do sleep 0.05; done
                fi
            done
            exec runc "$@"

            """
        try AtomicFile.write(program, Array(script.utf8), mode: 0o755)
    }

    /// Runs a test on a node that has such a runtime.
    static func with(_ body: (TestNode, FaultyRuntime) async throws -> Void) async throws {
        let runtime = try FaultyRuntime()
        try await TestNode.with {
            $0.runtime = runtime.program
        } _: { node in
            // Also when an expectation fails, the node must be removable.
            defer { runtime.mend() }
            try await body(node, runtime)
        }
    }

    func breakDeletion() throws { try AtomicFile.write(stuck, []) }

    /// What starts from here on waits for `mend`.
    func holdStarts() throws { try AtomicFile.write(held, []) }

    /// Somebody has waited.
    var hasHeld: Bool { access(holding, F_OK) == 0 }

    func mend() {
        unlink(stuck)
        unlink(held)
    }
}
