import FastableCore
import FastableIdentity
import FoundationEssentials
import SwiftASN1
import TestSupport
import Testing
import X509

#if canImport(Glibc)
    import Glibc
#endif

@Suite struct NodeIdentityTests {
    let authority: CertificateAuthority

    init() throws { authority = try CertificateAuthority(at: now) }

    @Test func keyIsKeptPrivately() throws {
        try withTemporaryDirectory { base in
            let directory = base + "/identity"
            let request = try NodeKey.open(directory: directory).signingRequest()
            let again = try NodeKey.open(directory: directory).signingRequest()
            #expect(
                try CertificateSigningRequest(pemEncoded: request).publicKey
                    == CertificateSigningRequest(pemEncoded: again).publicKey)
            #expect(try mode(of: directory + "/node.key") == 0o600)
            #expect(chmod(directory + "/node.key", 0o644) == 0)
            expectFailure(.forbidden) { _ = try NodeKey.open(directory: directory) }
        }
        #expect("\(NodeKey())" == "node key ‹redacted›")
        #expect(!String(reflecting: try makeIdentity(authority)).contains("PRIVATE"))
    }

    @Test func isSavedAndLoaded() throws {
        try withTemporaryDirectory { directory in
            #expect(try NodeIdentity.load(directory: directory) == nil)
            let identity = try makeIdentity(authority, key: try NodeKey.open(directory: directory))
            try identity.save(directory: directory)
            let loaded = try #require(try NodeIdentity.load(directory: directory))
            #expect(loaded.nodeID == identity.nodeID)
            #expect(loaded.serial == identity.serial)
            #expect(loaded.certificatePEM == identity.certificatePEM)
            #expect(loaded.authorityPEM == authority.pem)
            let files = try FileManager.default.contentsOfDirectory(atPath: directory)
            #expect(files.sorted() == ["certificate.pem", "node.key"])
        }
    }

    @Test func damagedFilesSayWhatToDo() throws {
        try withTemporaryDirectory { directory in
            let key = try NodeKey.open(directory: directory)
            try makeIdentity(authority, key: key).save(directory: directory)
            let path = directory + "/certificate.pem"
            let whole = try #require(try SmallFile.read(path, atMost: 1 << 20))
            try AtomicFile.write(path, Array(whole.prefix(whole.count / 2)))
            let error = expectFailure(.conflict) { _ = try NodeIdentity.load(directory: directory) }
            #expect(error?.message.contains("join the node again") == true)
            try makeIdentity(authority).save(directory: directory)
            expectFailure(.conflict) { _ = try NodeIdentity.load(directory: directory) }
        }
    }

    @Test func refusesWhatDoesNotFit() throws {
        let identity = try makeIdentity(authority)
        let foreign = try CertificateAuthority(at: now)
        expectFailure(.unauthenticated) {
            _ = try NodeIdentity(
                key: NodeKey(), certificatePEM: identity.certificatePEM, authorityPEM: authority.pem)
        }
        expectFailure(.unauthenticated) {
            _ = try NodeIdentity(
                key: identity.key, certificatePEM: identity.certificatePEM, authorityPEM: foreign.pem)
        }
        // A node cannot act as an authority.
        expectFailure(.unauthenticated) {
            _ = try NodeIdentity(
                key: identity.key, certificatePEM: identity.certificatePEM, authorityPEM: identity.certificatePEM)
        }
        expectFailure(.invalid) {
            _ = try NodeIdentity(key: identity.key, certificatePEM: "garbage", authorityPEM: authority.pem)
        }
        expectFailure(.tooLarge) {
            let long = String(repeating: "x", count: 1 << 20)
            _ = try NodeIdentity(key: identity.key, certificatePEM: long, authorityPEM: authority.pem)
        }
    }

    @Test func renewalIsDueAtTwoThirdsOfTheLife() throws {
        let identity = try makeIdentity(authority)
        let life = identity.expires.timeIntervalSince(identity.issued)
        let due = identity.issued.addingTimeInterval(life * 2 / 3)
        #expect(identity.renewalDate == due)
        #expect(!identity.renewalDue(at: now))
        #expect(!identity.renewalDue(at: due.addingTimeInterval(-1)))
        #expect(identity.renewalDue(at: due))
        #expect(!identity.isExpired(at: now.addingTimeInterval(7 * day - 1)))
        #expect(identity.isExpired(at: now.addingTimeInterval(7 * day)))
    }

    @Test func renewalKeepsNodeKeyAndAuthority() throws {
        let identity = try makeIdentity(authority)
        let later = now.addingTimeInterval(5 * day)
        func answer(_ authority: CertificateAuthority, node: NodeID, key: NodeKey, at date: Date) throws
            -> CertificateAnswer
        {
            let issued = try authority.signNode(node, signingRequest: try key.signingRequest(), at: date)
            return CertificateAnswer(certificate: issued.pem, authority: authority.pem)
        }
        let good = try answer(authority, node: identity.nodeID, key: identity.key, at: later)
        let renewed = try identity.renewed(by: good, at: later)
        #expect(renewed.nodeID == identity.nodeID)
        #expect(renewed.serial != identity.serial)
        #expect(!renewed.renewalDue(at: later))

        let foreign = try CertificateAuthority(at: now)
        let wrong = [
            try answer(foreign, node: identity.nodeID, key: identity.key, at: later),
            try answer(authority, node: NodeID(), key: identity.key, at: later),
            try answer(authority, node: identity.nodeID, key: NodeKey(), at: later),
            try answer(authority, node: identity.nodeID, key: identity.key, at: now.addingTimeInterval(-8 * day)),
            try answer(authority, node: identity.nodeID, key: identity.key, at: now.addingTimeInterval(9 * day)),
        ]
        for answer in wrong {
            expectFailure(.unauthenticated) { _ = try identity.renewed(by: answer, at: later) }
        }
    }

    @Test func peerCertificateTellsTheNode() throws {
        let identity = try makeIdentity(authority)
        let der = try Certificate(pemEncoded: identity.certificatePEM).serializeAsPEM().derBytes
        let peer = try NodeCertificate(peerCertificateDER: der, at: now)
        #expect(peer.nodeID == identity.nodeID)
        #expect(peer.serial == identity.serial)
        for date in [identity.expires, now.addingTimeInterval(-61)] {
            expectFailure(.unauthenticated) { _ = try NodeCertificate(peerCertificateDER: der, at: date) }
        }
        expectFailure(.unauthenticated) { _ = try NodeCertificate(peerCertificateDER: [1, 2, 3], at: now) }
        let server = try authority.issueServerCredential(names: ["localhost"], at: now)
        let serverDER = try Certificate(pemEncoded: server.certificatePEM).serializeAsPEM().derBytes
        expectFailure(.unauthenticated) { _ = try NodeCertificate(peerCertificateDER: serverDER, at: now) }
    }
}
