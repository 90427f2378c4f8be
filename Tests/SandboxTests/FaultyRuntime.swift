import FastableCore
import Glibc
import NodeLinux
import TestSupport

/// The host's runc, except that it cannot delete containers while it is told so: it fails as runc does when the kernel does not let
/// a control group go, and what it knows of the container stays.
struct FaultyRuntime {
    let program: String
    private let flag: String

    init(_ directory: TemporaryDirectory) throws {
        program = directory.path + "/runc"
        flag = directory.path + "/stuck"
        let script = """
            #!/bin/sh
            for word in "$@"; do
                if [ "$word" = delete ] && [ -e \(flag) ]; then
                    echo 'unable to destroy container: unable to remove container cgroup: device or resource busy' >&2
                    exit 1
                fi
            done
            exec runc "$@"

            """
        try AtomicFile.write(program, Array(script.utf8), mode: 0o755)
    }

    func breakDeletion() throws { try AtomicFile.write(flag, []) }
    func mend() { unlink(flag) }
}
