import ControllerDomain
import ControllerStore
import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct NodeStoreTests {
    @Test(arguments: Driver.allCases)
    func aNodeIsFoundByIDAndName(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let node = NodeRecord(
                id: NodeID(), name: "build-2.example.com", scheduling: .cordoned, facts: facts(), lastSeenAt: moment,
                createdAt: moment, certificateSerial: "0a", certificateExpiresAt: moment)
            try await store.createNode(node)
            #expect(try await store.node(.id(node.id)) == node)
            #expect(try await store.node(.name("build-2.example.com")) == node)
            #expect(try await store.nodes().map(\.name) == ["build-1", "build-2.example.com"])
            await expectFailure(.notFound) { _ = try await store.node(.name("build-3")) }
            await expectFailure(.notFound) { _ = try await store.node(.id(NodeID())) }
            let error = await expectFailure(.conflict) {
                try await store.createNode(NodeRecord(id: NodeID(), name: "build-1", createdAt: moment))
            }
            #expect(error?.message.contains("fastable node remove build-1") == true)
            await expectFailure(.unprocessable) {
                try await store.createNode(NodeRecord(id: NodeID(), name: "a/b", createdAt: moment))
            }
        }
    }

    @Test(arguments: Driver.allCases)
    func reportsAndSchedulingAreKept(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            try await store.updateNode(fixture.node, facts: facts(["a", "b"]), seenAt: moment)
            #expect(try await store.node(.id(fixture.node)).facts == facts(["a", "b"]))
            #expect(try await store.node(.id(fixture.node)).lastSeenAt == moment)
            #expect(try await store.setScheduling(.cordoned, of: fixture.node).scheduling == .cordoned)
            #expect(try await store.node(.id(fixture.node)).scheduling == .cordoned)
            #expect(try await store.setScheduling(.ready, of: fixture.node).scheduling == .ready)
            await expectFailure(.notFound) { _ = try await store.setScheduling(.ready, of: NodeID()) }
            await expectFailure(.invalid) { _ = try await store.setScheduling(.removed, of: fixture.node) }
        }
    }

    @Test(arguments: Driver.allCases)
    func removalRevokesAndFreesTheName(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            for serial in ["01", "02"] {
                try await store.recordCertificate(
                    CertificateRecord(serial: serial, node: fixture.node, expiresAt: moment))
            }
            let node = try await store.node(.id(fixture.node))
            #expect(node.certificateSerial == "02")
            #expect(node.certificateExpiresAt == moment)
            #expect(try await store.removeNode(fixture.node, at: moment) == ["01", "02"])
            #expect(try await store.removeNode(fixture.node, at: moment).isEmpty)
            #expect(try await store.certificate(serial: "01")?.revokedAt == moment)
            #expect(try await store.nodes().isEmpty)
            #expect(try await store.node(.id(fixture.node)).scheduling == .removed)
            await expectFailure(.notFound) { _ = try await store.node(.name("build-1")) }
            await expectFailure(.gone) { _ = try await store.setScheduling(.ready, of: fixture.node) }
            // What a removed node still says is not stored, and it gets no new certificate.
            try await store.updateNode(fixture.node, facts: facts(), seenAt: moment)
            #expect(try await store.node(.id(fixture.node)).facts == nil)
            await expectFailure(.gone) {
                try await store.recordCertificate(
                    CertificateRecord(serial: "03", node: fixture.node, expiresAt: moment))
            }
            #expect(try await store.certificate(serial: "03") == nil)
            try await store.createNode(NodeRecord(id: NodeID(), name: "build-1", createdAt: moment))
            await expectFailure(.notFound) { _ = try await store.removeNode(NodeID(), at: moment) }
        }
    }

    @Test(arguments: Driver.allCases)
    func certificatesAreKnownUntilTheyArePruned(driver: Driver) async throws {
        try await withStore(driver) { fixture in
            let store = fixture.store
            let certificate = CertificateRecord(serial: "0f", node: fixture.node, expiresAt: moment)
            try await store.recordCertificate(certificate)
            #expect(try await store.certificate(serial: "0f") == certificate)
            #expect(try await store.certificate(serial: "10") == nil)
            await expectFailure(.conflict) { try await store.recordCertificate(certificate) }
            await expectFailure(.notFound) {
                try await store.recordCertificate(CertificateRecord(serial: "11", node: NodeID(), expiresAt: moment))
            }
            #expect(try await store.revokeCertificates(of: fixture.node, at: moment) == ["0f"])
            #expect(try await store.revokeCertificates(of: fixture.node, at: moment).isEmpty)
            #expect(try await store.certificate(serial: "0f")?.revokedAt == moment)
            #expect(try await store.pruneCertificates(expiredBefore: moment) == 0)
            #expect(try await store.pruneCertificates(expiredBefore: moment.addingTimeInterval(1)) == 1)
            #expect(try await store.certificate(serial: "0f") == nil)
        }
    }
}
