import FastableCore
import Glibc
import Synchronization

/// Where the programs of the host are: looked for once, in directories that only root can write to.
public enum HostTools {
    private static let directories = [
        "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin",
    ]
    private static let found = Mutex<[String: String]>([:])

    /// The Debian and Ubuntu package of a program that is not named like it.
    private static let packages = [
        "ip": "iproute2", "tc": "iproute2", "nft": "nftables", "rg": "ripgrep", "newuidmap": "uidmap",
        "newgidmap": "uidmap", "mkfs.ext4": "e2fsprogs", "sysctl": "procps", "runsc": "runsc", "setcap": "libcap2-bin",
        "modprobe": "kmod", "losetup": "mount", "true": "coreutils",
    ]

    /// The absolute path of a program; `unavailable` tells which package has it.
    static func path(of executable: String) throws -> String {
        if executable.hasPrefix("/") { return executable }
        if let known = found.withLock({ $0[executable] }) { return known }
        let places = executable.contains("/") ? [] : directories.map { $0 + "/" + executable }
        guard let path = places.first(where: { access($0, X_OK) == 0 }) else { throw missing(executable) }
        found.withLock { $0[executable] = path }
        return path
    }

    public static func isInstalled(_ executable: String) -> Bool { (try? path(of: executable)) != nil }

    static func missing(_ executable: String) -> FastableError {
        let name = executable.split(separator: "/").last.map(String.init) ?? executable
        let package = packages[name] ?? name
        return FastableError(
            .unavailable,
            "The program ‘\(name)’ is not installed on the node. Its operator can install it: apt-get install \(package)",
            context: executable, details: ["package": .string(package)])
    }
}
