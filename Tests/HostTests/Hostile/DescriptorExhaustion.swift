extension HostileAttack {
    /// Four processes, each with as many open files as it may have: one file, under ever other names.
    static let descriptorExhaustion = HostileAttack(
        testDescription: "descriptor exhaustion",
        script: """
            for n in 1 2 3 4; do
                awk 'BEGIN {
                    for (i = 0; i < 70000; i++) {
                        path = "/etc"
                        for (rest = i + 131072; rest > 1; rest = int(rest / 2)) path = path (rest % 2 ? "/." : "/")
                        if ((getline line < (path "/passwd")) < 0) break
                    }
                    print "open"; fflush(); system("exec sleep 1000")
                }' &
            done
            wait
            """
    ) { scene in try await scene.hasPrinted("open") }
}
