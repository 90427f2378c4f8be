import Foundation

/// A root filesystem of a few megabytes: busybox and the directories a container needs.
enum Rootfs {
    static func make(at root: URL) throws {
        let files = FileManager.default
        for folder in [
            "bin", "sbin", "usr/bin", "usr/sbin", "etc", "root", "tmp", "proc", "sys", "dev", "run", "workspace",
            "cache",
        ] {
            try files.createDirectory(at: root.appending(path: folder), withIntermediateDirectories: true)
        }
        try files.copyItem(atPath: "/bin/busybox", toPath: root.appending(path: "bin/busybox").path)
        for applet in [
            "sh", "cat", "echo", "ls", "ps", "id", "sleep", "true", "false", "head", "tail", "seq", "wc", "nc", "ip",
            "mount",
            "unshare", "sha256sum", "dd", "env", "pwd", "kill", "setsid", "touch", "rm", "mkdir", "ln", "chmod", "stat",
            "wget",
            "hostname", "httpd", "date", "tr", "grep", "nproc", "sync", "yes", "ping", "readlink", "find", "cut", "sed",
            "awk",
            "test",
        ] {
            try files.createSymbolicLink(
                atPath: root.appending(path: "bin/\(applet)").path, withDestinationPath: "busybox")
        }
        try Data("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n".utf8)
            .write(to: root.appending(path: "etc/passwd"))
        try Data("root:x:0:\nnogroup:x:65534:\n".utf8).write(to: root.appending(path: "etc/group"))
    }
}
