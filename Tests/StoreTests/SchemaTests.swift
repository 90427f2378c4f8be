import ControllerStore
import Crypto
import Foundation
import Testing

@Suite struct SchemaTests {
    /// The SHA-256 of each step. Databases out there have run them: a step is added here, and never changed.
    private static let digests = [
        "d2bfab99e3bd23b0670553c904c036a302c001b477edfbb98ee4d9fa529ae9fb",
        "3c830de8bb68e08169595aa7cc174ee1f701fc22155c7b88f4aa4e79f5bf843f",
        "2b113c8dc1f4df417e9fe02b0e94c8c59554ea35cdc4727a82b153cf3e26464d",
        "b7e2837f14bacbfb460465aabdbcb3dc00fe580a526d47e063560936cd45e9f4",
        "90f533eb386017ce3cc7bad4db7422477542444e41946e8d70b102ec6b9db66a",
    ]

    @Test func stepsAreOnlyAdded() {
        #expect(Schema.migrations.map(\.number) == Array(1...Self.digests.count))
        for (step, digest) in zip(Schema.migrations, Self.digests) {
            let found = SHA256.hash(data: Data(step.sql.utf8)).map { String(format: "%02x", $0) }.joined()
            #expect(found == digest, "step \(step.number)")
        }
    }
}
