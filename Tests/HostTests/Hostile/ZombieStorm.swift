extension HostileAttack {
    /// Hundreds of processes that have ended, whose parent collects none, and that all come to init at once; and more that it gets one by
    /// one. Again and again.
    static let zombieStorm = HostileAttack(
        testDescription: "zombie storm",
        script: """
            while :; do
                sh -c 'for n in $(seq 400); do (exit 0) & done; echo storm; exec sleep 0.3'
                for n in $(seq 50); do ( (exit 0) & ); done
            done
            """,
        strikes: { try await $0.printedBytes() }
    ) { scene in HostFacts.ended(childrenOf: scene.processes).count > 300 }
}
