import ControllerDomain
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import Foundation
import NodeControl
import TestSupport
import Testing

@Suite("Joining", .serialized, .endsInTime)
struct JoinTests {
    private static func join(_ token: String, _ controller: TestController, _ name: String) async throws {
        _ = try await Joining.join(
            tokenText: token, name: name, identityDirectory: "\(controller.folder)/\(name)")
    }

    @Test func aTokenCountsOnce() async throws {
        try await TestController.with { controller in
            let token = try await controller.joinToken()
            try await Self.join(token, controller, "first")
            await expectFailure(.unauthenticated) { try await Self.join(token, controller, "second") }
            #expect(controller.services.metrics.value(.enrollments, ["used"]) == 1)
            #expect(controller.log.contains("reason=used"))
            #expect(try await controller.run("nodes_list")["nodes"]?.array?.count == 1)
        }
    }

    @Test func ofTwentyAtOnceOneJoins() async throws {
        try await TestController.with { controller in
            let token = try await controller.joinToken()
            let joined = await withTaskGroup(of: Bool.self) { group in
                for index in 0..<20 {
                    group.addTask {
                        do {
                            try await Self.join(token, controller, "node-\(index)")
                            return true
                        } catch {
                            #expect((error as? FastableError)?.code == .unauthenticated, "\(error)")
                            return false
                        }
                    }
                }
                return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            #expect(joined == 1)
            #expect(try await controller.run("nodes_list")["nodes"]?.array?.count == 1)
            #expect(controller.services.metrics.value(.enrollments, ["ok"]) == 1)
            #expect(controller.services.metrics.value(.enrollments, ["used"]) == 19)
        }
    }

    /// The same token with another secret, and a token that nobody made.
    @Test func wrongAndUnknownTokensLookAlike() async throws {
        try await TestController.with { controller in
            let real = try JoinToken(try await controller.joinToken())
            var messages: Set<String> = []
            for (id, reason) in [(real.tokenID, "wrong_proof"), (JoinTokenID(), "unknown_token")] {
                let forged = try JoinToken(
                    controllerURL: real.controllerURL, nodeListener: real.nodeListener,
                    authorityFingerprint: real.authorityFingerprint, tokenID: id)
                let error = await expectFailure(.unauthenticated) {
                    try await Self.join(forged.text.reveal(), controller, "forged")
                }
                messages.insert(error?.message ?? "")
                #expect(controller.services.metrics.value(.enrollments, [reason]) == 1)
                #expect(controller.log.contains("reason=\(reason)"))
            }
            #expect(messages.count == 1)
            // A wrong proof must not cost the right one its token.
            try await Self.join(real.text.reveal(), controller, "real")
        }
    }

    @Test func anExpiredTokenIsRefused() async throws {
        try await TestController.with { controller in
            let token = try JoinToken(
                controllerURL: controller.apiURL, nodeListener: .loopback(port: controller.nodePort),
                authorityFingerprint: controller.authority.fingerprint, tokenID: JoinTokenID())
            let now = Date.nowMilliseconds
            try await controller.store.createJoinToken(
                JoinTokenRecord(
                    id: token.tokenID,
                    verificationKey: try #require(Hex.decode(token.enrollmentKey.text.reveal())),
                    createdAt: now.addingTimeInterval(-7200), expiresAt: now.addingTimeInterval(-1)))
            await expectFailure(.unauthenticated) {
                try await Self.join(token.text.reveal(), controller, "late")
            }
            #expect(controller.services.metrics.value(.enrollments, ["expired"]) == 1)
        }
    }

    @Test func aControllerOfAnotherAuthorityIsNotBelieved() async throws {
        try await TestController.with { controller in
            let real = try JoinToken(try await controller.joinToken())
            let stranger = try CertificateAuthority(at: Date())
            // Its id is known here, so the controller answers; its authority is not the one that is pinned.
            let forged = try JoinToken(
                controllerURL: real.controllerURL, nodeListener: real.nodeListener,
                authorityFingerprint: stranger.fingerprint, tokenID: real.tokenID)
            await expectFailure(.unauthenticated) {
                try await Self.join(forged.text.reveal(), controller, "fooled")
            }
            #expect(try NodeIdentity.load(directory: "\(controller.folder)/fooled") == nil)
        }
    }

    @Test func aHostJoinsOnceAndANameCountsOnce() async throws {
        try await TestController.with { controller in
            let node = try await controller.join("one")
            let token = try await controller.joinToken()
            await expectFailure(.conflict) { try await Self.join(token, controller, "one") }
            await expectFailure(.conflict) {
                _ = try await Joining.join(
                    tokenText: token, name: "one", identityDirectory: "\(controller.folder)/two")
            }
            // Neither attempt used the token up.
            try await Self.join(token, controller, "two")
            #expect(try node.identity().nodeID == node.id)
        }
    }

    @Test func anAbsentControllerIsToldAtOnce() async throws {
        try await withTemporaryDirectory { folder in
            let token = try JoinToken(
                controllerURL: "http://127.0.0.1:9", nodeListener: .loopback(port: 9),
                authorityFingerprint: String(repeating: "0", count: 64), tokenID: JoinTokenID())
            let began = ContinuousClock.now
            await expectFailure(.unavailable) {
                _ = try await Joining.join(
                    tokenText: token.text.reveal(), name: "n", identityDirectory: folder + "/n")
            }
            #expect(ContinuousClock.now - began < .seconds(30))
        }
    }

    /// The node listener speaks TLS, not the API: whatever comes back is no enrollment answer.
    @Test func anotherServerIsNotTakenForAController() async throws {
        try await TestController.with { controller in
            let token = try JoinToken(
                controllerURL: "http://127.0.0.1:\(controller.nodePort)",
                nodeListener: .loopback(port: controller.nodePort),
                authorityFingerprint: controller.authority.fingerprint, tokenID: JoinTokenID())
            await expectFailure(.unavailable) { try await Self.join(token.text.reveal(), controller, "n") }
        }
    }
}
