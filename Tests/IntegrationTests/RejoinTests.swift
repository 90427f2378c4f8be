import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableIdentity
import Foundation
import NodeControl
import TestSupport
import Testing

@Suite("Joining again", .serialized, .endsInTime)
struct RejoinTests {
    private static func rejoin(_ node: TestNode, _ token: String) async throws -> NodeID {
        try await Joining.join(tokenText: token, name: "any", identityDirectory: node.directory).node
    }

    /// Eight days off: the certificate has ended.
    @Test func aNodeThatWasAwayForTooLongComesBackAsItself() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let key = try NodeKey.open(directory: node.directory)
            let ended = try controller.authority.signNode(
                node.id, signingRequest: key.signingRequest(), at: Date().addingTimeInterval(-8 * 86_400))
            try await controller.store.recordCertificate(
                CertificateRecord(serial: ended.serial, node: node.id, expiresAt: ended.expires))
            try NodeIdentity(key: key, certificatePEM: ended.pem, authorityPEM: controller.authority.pem)
                .save(directory: node.directory)
            let log = LogRecorder()
            try await node.linked(log: log) {
                try await eventually("the log tells what to do") {
                    log.contains("node token --node \(node.id)")
                }
                // The daemon runs on meanwhile, and finds the new identity with its next dial.
                #expect(try await Self.rejoin(node, controller.joinToken(for: node)) == node.id)
                try await controller.waitUntilReady(node)
            }
            let identity = try node.identity()
            #expect(identity.nodeID == node.id)
            #expect(identity.serial != ended.serial)
            #expect(try NodeKey.open(directory: node.directory).pem.reveal() != key.pem.reveal(), "a new key, too")
            #expect(try await controller.run("nodes_list")["nodes"]?.array?.count == 1)
        }
    }

    @Test func aLostDiskIsNoObstacle() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let copy = try node.copied(to: node.directory + "-copy")
            try FileManager.default.removeItem(atPath: node.directory)
            #expect(try await Self.rejoin(node, controller.joinToken(for: node)) == node.id)
            try await node.linked { try await controller.waitUntilReady(node) }
            // A copy of the old disk is worth nothing any more.
            await #expect(throws: FastableError.self) {
                try await RawLink.with(controller, context: RawLink.context(copy.identity())) { link in
                    try await link.hello(generation: UInt64.max / 4)
                }
            }
            #expect(controller.log.lines.contains { $0.contains("link was refused") && $0.contains("revoked") })
        }
    }

    /// Somebody else has the node's key and certificate, and a link that stands on them.
    @Test func aLinkOnTheOldCertificateIsCutAndGetsNoOther() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let thief = try node.copied(to: node.directory + "-thief")
            let request = CertificateRequest(signingRequest: try thief.identity().key.signingRequest())
            try await RawLink.with(controller, context: RawLink.context(thief.identity())) { link in
                try await link.hello(generation: 1)
                let answer = try await link.call(.renewCertificate, request)
                let renewed = try thief.identity().renewed(
                    by: JSON.decode(from: JSON.encode(try #require(answer["ok"]))), at: Date())
                try renewed.save(directory: thief.directory)
                // Only the record, so that the link is still up when it asks once more.
                let fresh = try controller.authority.signNode(
                    node.id, signingRequest: NodeKey().signingRequest(), at: Date())
                let revoked = try await controller.store.replaceCertificates(
                    with: CertificateRecord(serial: fresh.serial, node: node.id, expiresAt: fresh.expires), at: Date())
                #expect(revoked.contains(renewed.serial))
                let refused = try await link.call(.renewCertificate, request)
                #expect(refused["error"]?["code"]?.string == "unauthenticated")

                #expect(try await Self.rejoin(node, controller.joinToken(for: node)) == node.id)
                try await link.waitUntilClosed()
            }
            for identity in [try thief.identity()] {
                await #expect(throws: FastableError.self) {
                    try await RawLink.with(controller, context: RawLink.context(identity)) { link in
                        try await link.hello(generation: UInt64.max / 4)
                    }
                }
            }
            try await node.linked { try await controller.waitUntilReady(node) }
        }
    }

    @Test func aHostOfAnotherNodeKeepsItsIdentity() async throws {
        try await TestController.with { controller in
            let one = try await controller.join("one")
            let two = try await controller.join("two")
            let token = try await controller.joinToken(for: one)
            let error = await expectFailure(.conflict) { _ = try await Self.rejoin(two, token) }
            #expect(error?.message.contains(two.id.description) == true)
            await expectFailure(.conflict) { _ = try await Self.rejoin(one, controller.joinToken()) }
            #expect(try two.identity().nodeID == two.id)
            // The token was not used up by that.
            #expect(try await Self.rejoin(one, token) == one.id)
        }
    }

    @Test func aRefusalLeavesTheOldIdentity() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let token = try await controller.joinToken(for: node)
            let before = try node.identity().serial
            let spare = try node.copied(to: node.directory + "-spare")
            #expect(try await Self.rejoin(spare, token) == node.id)
            await expectFailure(.unauthenticated) { _ = try await Self.rejoin(node, token) }
            #expect(try node.identity().serial == before)
        }
    }
}
