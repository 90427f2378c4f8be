import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import FastableCore
import FastableIdentity
import FoundationEssentials
import TestSupport
import Testing

@Suite(.endsInTime) struct EnrollmentTests {
    private func joinToken(_ world: World) async throws -> JoinToken {
        let answer = try await world.run("nodes_join_token")
        return try JoinToken(try #require(answer["token"]?.string))
    }

    private func enroll(_ world: World, _ request: EnrollmentRequest) async throws -> EnrollmentAnswer {
        try await world.services.enrollment.enroll(request, remoteAddress: "192.0.2.1", requestID: RequestID())
    }

    /// A node that joined, as its own host sees it.
    private func join(_ world: World, name: String) async throws -> NodeIdentity {
        let token = try await joinToken(world)
        let key = NodeKey()
        let request = try Enrollment.request(token: token, name: name, key: key)
        return try Enrollment.accept(
            try await enroll(world, request), to: request, token: token, key: key, at: .nowMilliseconds)
    }

    private func der(_ identity: NodeIdentity) throws -> [UInt8] {
        let lines = identity.certificatePEM.split(separator: "\n").filter { !$0.hasPrefix("-----") }
        return [UInt8](try #require(Data(base64Encoded: lines.joined())))
    }

    @Test func aNodeJoinsOnceAndIsKnownByItsCertificate() async throws {
        try await World.with(nodes: 0) { world, _ in
            let token = try await joinToken(world)
            #expect(token.controllerURL == "http://127.0.0.1:7420")
            #expect(token.authorityFingerprint == world.authority.fingerprint)
            let key = NodeKey()
            let request = try Enrollment.request(token: token, name: "build-1", key: key)
            let identity = try Enrollment.accept(
                try await enroll(world, request), to: request, token: token, key: key, at: .nowMilliseconds)
            #expect(try await world.services.fleet.authorizeNode(certificateDER: der(identity)) == identity.nodeID)
            let shown = try await world.run("nodes_get", ["node": "build-1"])
            #expect(shown["id"] == .string(identity.nodeID.description))
            #expect(shown["state"] == "offline")
            // The same request again, and the same token with another: used is used.
            await expectFailure(.unauthenticated) { _ = try await enroll(world, request) }
            let again = try Enrollment.request(token: token, name: "build-2", key: NodeKey())
            await expectFailure(.unauthenticated) { _ = try await enroll(world, again) }
            #expect(world.services.metrics.value(.enrollments, ["ok"]) == 1)
            #expect(world.services.metrics.value(.enrollments, ["used"]) == 2)
            #expect(try await world.store.nodes().map(\.name) == ["build-1"])
        }
    }

    @Test func everyWrongTokenIsRefusedInTheSameWords() async throws {
        try await World.with(nodes: 0) { world, _ in
            let token = try await joinToken(world)
            let genuine = try Enrollment.request(token: token, name: "build-1", key: NodeKey())
            var changes: [(String, EnrollmentRequest)] = []
            var request = genuine
            request.name = "build-2"
            changes.append(("wrong_proof", request))
            request = genuine
            request.mac[0] ^= 1
            changes.append(("wrong_proof", request))
            request = genuine
            request.mac = Data()
            changes.append(("wrong_proof", request))
            request = genuine
            request.nonce = Data(repeating: 0, count: 32)
            changes.append(("wrong_proof", request))
            request = genuine
            request.signingRequest = try NodeKey().signingRequest()
            changes.append(("wrong_proof", request))
            request = genuine
            request.tokenID = JoinTokenID()
            changes.append(("unknown_token", request))
            var messages: Set<String> = []
            for (_, request) in changes {
                let error = await expectFailure(.unauthenticated) { _ = try await enroll(world, request) }
                messages.insert(error?.message ?? "none")
            }
            #expect(messages.count == 1)
            #expect(world.services.metrics.value(.enrollments, ["wrong_proof"]) == 5)
            #expect(world.services.metrics.value(.enrollments, ["unknown_token"]) == 1)
            // None of that used the token up.
            _ = try await enroll(world, genuine)
        }
    }

    @Test func anExpiredTokenIsRefused() async throws {
        try await World.with(nodes: 0) { world, _ in
            let token = try await joinToken(world)
            let record = try #require(try await world.store.joinToken(token.tokenID))
            #expect(record.expiresAt.timeIntervalSince(record.createdAt) == Double(Limits.joinTokenSeconds))
            // The same secret, stored as one that ended a moment ago.
            let expired = try JoinToken(
                controllerURL: token.controllerURL, nodeListener: token.nodeListener,
                authorityFingerprint: token.authorityFingerprint, tokenID: JoinTokenID())
            let key = try #require(Hex.decode(expired.enrollmentKey.text.reveal()))
            try await world.store.createJoinToken(
                JoinTokenRecord(
                    id: expired.tokenID, verificationKey: key, createdAt: .nowMilliseconds.addingTimeInterval(-7200),
                    expiresAt: .nowMilliseconds.addingTimeInterval(-1)))
            let request = try Enrollment.request(token: expired, name: "late", key: NodeKey())
            await expectFailure(.unauthenticated) { _ = try await enroll(world, request) }
            #expect(world.services.metrics.value(.enrollments, ["expired"]) == 1)
        }
    }

    @Test func aBadNameOrRequestDoesNotCostTheToken() async throws {
        try await World.with { world, _ in
            let token = try await joinToken(world)
            let taken = try Enrollment.request(token: token, name: "node-1", key: NodeKey())
            await expectFailure(.conflict) { _ = try await enroll(world, taken) }
            await expectFailure(.unprocessable) {
                _ = try Enrollment.request(token: token, name: "BUILD", key: NodeKey())
            }
            let good = try Enrollment.request(token: token, name: "build-1", key: NodeKey())
            _ = try await enroll(world, good)
        }
    }

    @Test func ofManyAttemptsAtOnceOneJoins() async throws {
        try await World.with(nodes: 0) { world, _ in
            let token = try await joinToken(world)
            let joined = await withTaskGroup(of: Bool.self) { group in
                for index in 0..<16 {
                    group.addTask {
                        guard
                            let request = try? Enrollment.request(token: token, name: "build-\(index)", key: NodeKey())
                        else { return false }
                        return (try? await enroll(world, request)) != nil
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(joined == 1)
            #expect(try await world.store.nodes().count == 1)
        }
    }

    @Test func removingANodeRevokesItAndCutsItsLink() async throws {
        try await World.with(nodes: 0) { world, _ in
            let identity = try await join(world, name: "build-1")
            try await world.run("nodes_remove", ["node": "build-1"])
            #expect(world.directory.disconnected == [identity.nodeID])
            let error = await expectFailure(.unauthenticated) {
                _ = try await world.services.fleet.authorizeNode(certificateDER: der(identity))
            }
            #expect(error?.message.contains("revoked") == true)
            await expectFailure(.gone) {
                _ = try await world.services.fleet.renewCertificate(
                    node: identity.nodeID, serial: identity.serial,
                    request: CertificateRequest(signingRequest: identity.key.signingRequest()))
            }
            await expectFailure(.notFound) { try await world.run("nodes_get", ["node": "build-1"]) }
            // The name is free again.
            _ = try await join(world, name: "build-1")
        }
    }

    @Test func aCertificateIsRenewedForTheSameNode() async throws {
        try await World.with(nodes: 0) { world, _ in
            let identity = try await join(world, name: "build-1")
            let answer = try await world.services.fleet.renewCertificate(
                node: identity.nodeID, serial: identity.serial,
                request: CertificateRequest(signingRequest: identity.key.signingRequest()))
            let renewed = try identity.renewed(by: answer.answer, at: .nowMilliseconds)
            #expect(renewed.serial != identity.serial)
            #expect(renewed.serial == answer.serial)
            #expect(try await world.services.fleet.authorizeNode(certificateDER: der(renewed)) == identity.nodeID)
            await expectFailure(.invalid) {
                _ = try await world.services.fleet.renewCertificate(
                    node: identity.nodeID, serial: identity.serial,
                    request: CertificateRequest(signingRequest: "nonsense"))
            }
        }
    }

    @Test func aNodeRenewsAFewTimesInAnHour() async throws {
        try await World.with(nodes: 0) { world, _ in
            let one = try await join(world, name: "build-1")
            let two = try await join(world, name: "build-2")
            func renew(_ identity: NodeIdentity) async throws {
                _ = try await world.services.fleet.renewCertificate(
                    node: identity.nodeID, serial: identity.serial,
                    request: CertificateRequest(signingRequest: identity.key.signingRequest()))
            }
            for _ in 0..<Limits.certificateRenewalsPerHour { try await renew(one) }
            let error = await expectFailure(.limit) { try await renew(one) }
            #expect(error?.details["limit"] == .integer(Int64(Limits.certificateRenewalsPerHour)))
            #expect((3500...3601).contains(error?.retryAfterSeconds ?? 0))
            try await renew(two)
        }
    }

    @Test func acertificateOfAnotherAuthorityIsNotOurs() async throws {
        try await World.with(nodes: 0) { world, _ in
            let foreign = try CertificateAuthority(at: .nowMilliseconds)
            let key = NodeKey()
            let node = NodeID()
            let issued = try foreign.signNode(node, signingRequest: key.signingRequest(), at: .nowMilliseconds)
            let identity = try NodeIdentity(key: key, certificatePEM: issued.pem, authorityPEM: foreign.pem)
            await expectFailure(.unauthenticated) {
                _ = try await world.services.fleet.authorizeNode(certificateDER: der(identity))
            }
            await expectFailure(.unauthenticated) {
                _ = try await world.services.fleet.authorizeNode(certificateDER: [1, 2, 3])
            }
            world.services.fleet.linkRefused(remoteAddress: "192.0.2.1", reason: "no certificate")
            #expect(world.services.metrics.value(.linksRefused) == 1)
        }
    }
}
