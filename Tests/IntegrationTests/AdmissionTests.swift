import ControllerDomain
import ControllerFleet
import ControllerServices
import ControllerStore
import Crypto
import FastableCore
import FastableIdentity
import Foundation
import NIOSSL
import SwiftASN1
import TestSupport
import Testing
import X509

/// Who may open a link. Each refusal is counted and logged, and the fleet does not see the stranger.
@Suite("Who may link", .serialized, .endsInTime)
struct AdmissionTests {
    enum Stranger: String, CaseIterable {
        case withoutCertificate, ofAnotherAuthority, selfSigned, neverRecorded, revoked, expired

        /// What the log tells about it.
        var reason: String {
            switch self {
            case .withoutCertificate, .ofAnotherAuthority, .selfSigned, .expired: "TLS handshake"
            case .neverRecorded: "did not issue"
            case .revoked: "revoked"
            }
        }
    }

    @Test(arguments: Stranger.allCases)
    func strangersAreRefused(stranger: Stranger) async throws {
        try await TestController.with { controller in
            let node = try await controller.join()
            let context = try await Self.context(of: stranger, node, controller)
            let before = controller.services.metrics.value(.linksRefused)
            do {
                try await RawLink.with(controller, context: context) { link in
                    try await link.hello(generation: 1)
                }
                Issue.record("\(stranger) was let in")
            } catch let error as FastableError {
                #expect([.unauthenticated, .unavailable].contains(error.code), "\(error)")
            }
            try await eventually("it was counted") {
                controller.services.metrics.value(.linksRefused) > before
            }
            // It is counted before it is told.
            try await eventually("it was told") {
                controller.log.lines.contains { $0.contains("link was refused") && $0.contains(stranger.reason) }
            }
            #expect(controller.registry.connectedNodes().isEmpty)
            #expect(try await controller.state(of: node) == "offline")

            // The listener is none the worse for it.
            if stranger != .revoked {
                try await node.linked { try await controller.waitUntilReady(node) }
            }
        }
    }

    /// A certificate that names the node and is signed by its own key.
    private static func selfSigned(as node: TestNode) throws -> (certificate: String, key: String) {
        let key = P256.Signing.PrivateKey()
        let name = try DistinguishedName { CommonName(node.id.description) }
        let certificate = try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(bytes: [1]), publicKey: .init(key.publicKey),
            notValidBefore: Date().addingTimeInterval(-60), notValidAfter: Date().addingTimeInterval(3600),
            issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.clientAuth])
            }, issuerPrivateKey: .init(key))
        return (try certificate.serializeAsPEM().pemString, key.pemRepresentation)
    }

    private static func context(
        of stranger: Stranger, _ node: TestNode, _ controller: TestController
    ) async throws -> NIOSSLContext {
        let key = try NodeKey.open(directory: node.directory)
        let request = try key.signingRequest()
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates(
            try NIOSSLCertificate.fromPEMBytes(Array(controller.authority.pem.utf8)))
        func show(_ certificate: String, _ key: String) throws -> NIOSSLContext {
            configuration.certificateChain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
                .map { .certificate($0) }
            configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))
            return try NIOSSLContext(configuration: configuration)
        }
        switch stranger {
        case .withoutCertificate:
            return try NIOSSLContext(configuration: configuration)
        case .ofAnotherAuthority:
            let foreign = try CertificateAuthority(at: Date())
            return try show(
                foreign.signNode(node.id, signingRequest: request, at: Date()).pem, key.pem.reveal())
        case .selfSigned:
            let own = try selfSigned(as: node)
            return try show(own.certificate, own.key)
        case .neverRecorded:
            return try show(
                controller.authority.signNode(node.id, signingRequest: request, at: Date()).pem, key.pem.reveal())
        case .expired:
            let issued = Date().addingTimeInterval(-Double(Limits.nodeCertificateSeconds) - 60)
            let old = try controller.authority.signNode(node.id, signingRequest: request, at: issued)
            try await controller.store.recordCertificate(
                CertificateRecord(serial: old.serial, node: node.id, expiresAt: old.expires))
            return try show(old.pem, key.pem.reveal())
        case .revoked:
            let revoked = try await controller.store.revokeCertificates(of: node.id, at: Date())
            #expect(revoked.count == 1)
            return try RawLink.context(node.identity())
        }
    }
}
