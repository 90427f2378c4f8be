extension HostileAttack {
    /// Four processes, each with as many open files as it may have.
    static let descriptorExhaustion = HostileAttack(
        testDescription: "descriptor exhaustion",
        script: """
            mkdir /tmp/d && cd /tmp/d
            for n in 1 2 3 4; do
                awk 'BEGIN { for (i = 0; i < 65000; i++) print i > ("f" i); print "open"; fflush(); system("sleep 1000") }' &
            done
            wait
            """
    ) { scene in try await scene.hasPrinted("open") }
}
