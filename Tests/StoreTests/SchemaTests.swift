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
        "7dc8da6ff87c5e0fb16a35084765eac74199a880c72830db79d44c38ba39542c",
        "50133b48e4c7b5910a06c4b855ddab883bb7073a69825dc525bd9b8547dd9f1b",
        "0a4062b38818bae60b545e205852badceeceae172719b26b36a9f3d382db9880",
        "0bacb70e501fec15293c31b866ced822845e10e4cf61fa6a3ecf9536d95b11ad",
        "eb9b9f29b5d0e5d9b52c26b6abf7f039e3be1a6bd6a0754acf4f180f961627d2",
        "aec6725a2114a78f89e065d19ad419fd2899335ac960042fbabdc7f3f8bcc068",
        "de27758fbf7e19cdc9dbe0dfd48c62a3d25ae17d384ef80f2bd9b59acb204717",
    ]

    @Test func stepsAreOnlyAdded() {
        #expect(Schema.migrations.map(\.number) == Array(1...Self.digests.count))
        for (step, digest) in zip(Schema.migrations, Self.digests) {
            let found = SHA256.hash(data: Data(step.sql.utf8)).map { String(format: "%02x", $0) }.joined()
            #expect(found == digest, "step \(step.number)")
        }
    }
}
