import FastableCore
import Glibc
import NodeLinux
import TestSupport
import Testing

/// What the machine offers that runs the tests.
enum Host {
    static let isRoot = geteuid() == 0
    static let runsContainers = isRoot && initProgram != nil && busybox != nil && find("runc") != nil

    static let needs: Comment =
        "needs root, runc, busybox-static and fastable-init in the build folder: apt-get install runc busybox-static"

    static let initProgram = BuiltProgram.path("fastable-init")

    /// A busybox that runs without libraries.
    static let busybox: String? = ["/usr/bin/busybox", "/bin/busybox"].first { path in
        guard let file = try? FileDescriptor(opening: path, O_RDONLY), let head = try? file.readChunk(4096, at: 0)
        else {
            return false
        }
        return !String(decoding: head, as: UTF8.self).contains("/ld-linux")
    }

    static func find(_ program: String) -> String? {
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        return (path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]).map { $0 + "/" + program }
            .first { access($0, X_OK) == 0 }
    }
}
