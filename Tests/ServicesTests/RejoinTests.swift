import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import Crypto
import FastableCore
import FastableIdentity
import FoundationEssentials
import TestSupport
import Testing

/// An operator lets a node that exists join again.
@Suite(.endsInTime) struct RejoinTests {
    private func token(_ world: World, for node: String? = nil) async throws -> JoinToken {
        let answer = try await world.run("nodes_join_token", node.map { ["node": .string($0)] } ?? [:])
        return try JoinToken(try #require(answer["token"]?.string))
    }

    private func enroll(_ world: World, _ token: JoinToken, name: String) async throws -> NodeIdentity {
        let key = NodeKey()
        let request = try Enrollment.request(token: token, name: name, key: key)
        let answer = try await world.services.enrollment.enroll(
            request, remoteAddress: "192.0.2.1", requestID: RequestID())
        return try Enrollment.accept(answer, to: request, token: token, key: key, at: .nowMilliseconds)
    }

    private func authorize(_ world: World, _ identity: NodeIdentity) async throws -> NodeID {
        let lines = identity.certificatePEM.split(separator: "\n").filter { !$0.hasPrefix("-----") }
        let der = [UInt8](try #require(Data(base64Encoded: lines.joined())))
        return try await world.services.fleet.authorizeNode(certificateDER: der)
    }

    @Test func itKeepsItsIDAndOldCertificatesEnd() async throws {
        try await World.with(nodes: 0) { world, _ in
            let old = try await enroll(world, try await token(world), name: "build-1")
            let renewed = try await world.services.fleet.renewCertificate(
                node: old.nodeID, serial: old.serial,
                request: CertificateRequest(signingRequest: old.key.signingRequest()))
            for key in ["build-1", old.nodeID.description] {
                let token = try await token(world, for: key)
                #expect(token.node == old.nodeID)
            }
            let token = try await token(world, for: "build-1")
            // The host may call itself otherwise by now: the node keeps its name.
            let new = try await enroll(world, token, name: "other")
            #expect(new.nodeID == old.nodeID)
            #expect(try await world.store.nodes().map(\.name) == ["build-1"])
            #expect(try await world.store.node(.id(old.nodeID)).certificateSerial == new.serial)
            #expect(try await authorize(world, new) == old.nodeID)
            let error = await expectFailure(.unauthenticated) { _ = try await authorize(world, old) }
            #expect(error?.message.contains("revoked") == true)
            #expect(world.directory.disconnected == [old.nodeID])
            // Also what the old certificate asked for in the same moment.
            for serial in [old.serial, renewed.serial, "unknown"] {
                await expectFailure(.unauthenticated) {
                    _ = try await world.services.fleet.renewCertificate(
                        node: old.nodeID, serial: serial,
                        request: CertificateRequest(signingRequest: old.key.signingRequest()))
                }
            }
            #expect(try await world.store.node(.id(old.nodeID)).certificateSerial == new.serial)
            await expectFailure(.unauthenticated) { _ = try await enroll(world, token, name: "again") }

            let events = try await world.audit("nodes_rejoin")
            #expect(events.count == 1)
            #expect(events.first?.detail["node"] == .string(old.nodeID.description))
            #expect(events.first?.detail["revoked"]?.array?.count == 2)
            #expect(try await world.audit("nodes_join_token").last?.subject == "build-1")
            #expect(world.services.metrics.value(.enrollments, ["rejoined"]) == 1)
        }
    }

    /// The text of a token is in the hands of whoever joins: what it may do stands in the store.
    @Test func aPlainTokenCannotTakeOverANode() async throws {
        try await World.with(nodes: 0) { world, _ in
            let victim = try await enroll(world, try await token(world), name: "build-1")
            let plain = try await token(world)
            let forged = try JoinToken(plain.claiming(victim.nodeID))
            #expect(forged.node == victim.nodeID)
            // The victim's name is no key to its id either.
            await expectFailure(.conflict) { _ = try await enroll(world, forged, name: "build-1") }
            let key = NodeKey()
            let request = try Enrollment.request(token: forged, name: "evil", key: key)
            let answer = try await world.services.enrollment.enroll(
                request, remoteAddress: "192.0.2.1", requestID: RequestID())
            #expect(answer.nodeID != victim.nodeID, "it is a new node like any other")
            #expect(try await authorize(world, victim) == victim.nodeID)
            #expect(world.directory.disconnected.isEmpty)
            // A host that expects to be that node does not believe it.
            #expect(throws: FastableError.self) {
                try Enrollment.accept(answer, to: request, token: forged, key: key, at: .nowMilliseconds)
            }
            // Somebody else's certificate does not renew this node's.
            let stranger = try await enroll(world, try await token(world), name: "build-2")
            await expectFailure(.unauthenticated) {
                _ = try await world.services.fleet.renewCertificate(
                    node: victim.nodeID, serial: stranger.serial,
                    request: CertificateRequest(signingRequest: key.signingRequest()))
            }
        }
    }

    @Test func onlyANodeThatIsThere() async throws {
        try await World.with(nodes: 0) { world, _ in
            await expectFailure(.notFound) { _ = try await token(world, for: "nobody") }
            await expectFailure(.notFound) { _ = try await token(world, for: NodeID().description) }
            let node = try await enroll(world, try await token(world), name: "build-1")
            let early = try await token(world, for: "build-1")
            try await world.run("nodes_remove", ["node": "build-1"])
            await expectFailure(.notFound) { _ = try await token(world, for: "build-1") }
            await expectFailure(.gone) { _ = try await token(world, for: node.nodeID.description) }
            await expectFailure(.gone) { _ = try await enroll(world, early, name: "build-1") }
            #expect(try await world.store.nodes().isEmpty)
        }
    }

    @Test func ofManyAttemptsAtOnceOneCounts() async throws {
        try await World.with(nodes: 0) { world, _ in
            let node = try await enroll(world, try await token(world), name: "build-1")
            let token = try await token(world, for: "build-1")
            let joined = await withTaskGroup(of: NodeIdentity?.self) { group in
                for _ in 0..<16 { group.addTask { try? await enroll(world, token, name: "x") } }
                return await group.reduce(into: [NodeIdentity]()) { if let identity = $1 { $0.append(identity) } }
            }
            #expect(joined.map(\.nodeID) == [node.nodeID])
            let current = try #require(joined.first)
            #expect(try await authorize(world, current) == node.nodeID)
        }
    }

    @Test func aLostDiskIsNotAssumedToHaveTheProjects() async throws {
        try await World.with { world, nodes in
            try await world.project()
            nodes[0].reply(.fsRead) { (_: FileCall<FileRead>) in FileReadResult(path: "a", kind: .file) }
            for _ in 0..<2 { try await world.run("fs.read", ["project": "shop", "path": "a"]) }
            #expect(nodes[0].methods.filter { $0 == .projectPrepare }.count == 1)
            await world.services.fleet.nodeConnected(nodes[0].id, facts: World.facts())
            try await world.run("fs.read", ["project": "shop", "path": "a"])
            #expect(nodes[0].methods.filter { $0 == .projectPrepare }.count == 2)
        }
    }
}

extension JoinToken {
    /// The text with another node in it, and with a checksum that fits.
    fileprivate func claiming(_ node: NodeID) throws -> String {
        let bytes = try #require(Base64URL.decode(text.reveal().dropFirst("fjt_".count)))
        // The node is the last text: here its length is 0, and the checksum follows.
        let length = node.description.utf8.count
        var changed = Array(bytes.prefix(bytes.count - 6))
        changed += [UInt8(length >> 8), UInt8(length & 0xff)] + Array(node.description.utf8)
        changed += SHA256.hash(data: changed).prefix(4)
        return "fjt_" + Base64URL.encode(changed)
    }
}
