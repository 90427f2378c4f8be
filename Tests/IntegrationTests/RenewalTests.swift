import ControllerDomain
import ControllerFleet
import ControllerStore
import FastableCore
import FastableIdentity
import Foundation
import TestSupport
import Testing

@Suite("Certificate renewal over the link", .serialized, .endsInTime)
struct RenewalTests {
    /// Gives the node a certificate of the given age, as if it had been running for so long.
    private static func age(_ node: TestNode, days: Double, _ controller: TestController) async throws -> NodeIdentity {
        let key = try NodeKey.open(directory: node.directory)
        let issued = try controller.authority.signNode(
            node.id, signingRequest: key.signingRequest(), at: Date().addingTimeInterval(-days * 86_400))
        try await controller.store.recordCertificate(
            CertificateRecord(serial: issued.serial, node: node.id, expiresAt: issued.expires))
        let identity = try NodeIdentity(
            key: key, certificatePEM: issued.pem, authorityPEM: controller.authority.pem)
        try identity.save(directory: node.directory)
        return identity
    }

    @Test func renewsAtTwoThirdsAndDialsWithTheNewOne() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let old = try await Self.age(node, days: 5, controller)
            #expect(old.renewalDue(at: Date()))
            let log = LogRecorder()
            try await node.linked(log: log) {
                try await controller.waitUntilReady(node)
                try await eventually("the certificate is renewed") { try node.identity().serial != old.serial }
                let new = try node.identity()
                #expect(!new.renewalDue(at: Date()))
                #expect(new.expires > old.expires)
                #expect(Set(controller.fleet.serials) == [old.serial], "the link itself goes on")

                controller.registry.disconnect(node.id, reason: "a test")
                try await eventually("it dialled with the new one") { controller.fleet.serials.last == new.serial }
                try await controller.waitUntilReady(node)
            }
            #expect(log.contains("certificate was renewed"))

            // The old one is good until it ends: a node that lost the new one is not locked out.
            try await RawLink.with(controller, context: RawLink.context(old)) { link in
                try await link.hello(generation: UInt64.max / 4)
            }
        }
    }

    @Test func aYoungCertificateIsKept() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let identity = try await Self.age(node, days: 4, controller)
            try await node.linked {
                try await controller.waitUntilReady(node)
                try await Task.sleep(for: .milliseconds(200))
            }
            #expect(try node.identity().serial == identity.serial)
        }
    }

    @Test func aRemovedNodeGetsNoCertificate() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let request = CertificateRequest(
                signingRequest: try NodeKey.open(directory: node.directory).signingRequest())
            try await RawLink.with(controller, context: RawLink.context(node.identity())) { link in
                try await link.hello(generation: 1)
                #expect(try await link.call(.renewCertificate, request)["ok"]?["certificate"] != nil)
                // Only the record: the link is still up when it asks.
                _ = try await controller.store.removeNode(node.id, at: Date())
                let answer = try await link.call(.renewCertificate, request)
                #expect(answer["error"]?["code"]?.string == "gone")
            }
        }
    }

    @Test func anEndedCertificateIsToldInTheLog() async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            _ = try await Self.age(node, days: 8, controller)
            let log = LogRecorder()
            try await node.linked(log: log) {
                try await eventually("the log tells it") { log.contains("certificate expired") }
            }
            #expect(controller.registry.connectedNodes().isEmpty)
        }
    }
}
