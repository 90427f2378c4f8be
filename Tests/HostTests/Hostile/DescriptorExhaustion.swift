import Foundation

extension HostileAttack {
    /// Four processes, each with as many open files as it may have: one file, under ever other names. They go on to ask for more.
    static let descriptorExhaustion = HostileAttack(
        testDescription: "descriptor exhaustion",
        script: """
            for n in 1 2 3 4; do
                awk 'BEGIN {
                    for (i = 0; ; i++) {
                        path = "/etc"
                        for (rest = i + 131072; rest > 1; rest = int(rest / 2)) path = path (rest % 2 ? "/." : "/")
                        if ((getline line < (path "/passwd")) < 0 && ++refused % 100 == 0) { print "refused"; fflush() }
                    }
                }' &
            done
            wait
            """,
        strikes: { try await $0.printedBytes() }
    ) { scene in
        scene.processes.contains { pid in
            let limits = HostFacts.text("/proc/\(pid)/limits").split(separator: "\n")
            let line = limits.first { $0.hasPrefix("Max open files") }?.split(separator: " ") ?? []
            guard line.count > 3, let most = Int(line[3]) else { return false }
            return HostFacts.names("/proc/\(pid)/fd").count >= most - 8
        }
    }
}
