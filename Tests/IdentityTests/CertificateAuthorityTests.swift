import Crypto
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

@Suite struct CertificateAuthorityTests {
    @Test func keepsItselfInADirectory() throws {
        try withTemporaryDirectory { base in
            let directory = base + "/authority"
            let made = try CertificateAuthority.open(directory: directory, at: now)
            let loaded = try CertificateAuthority.open(directory: directory, at: now)
            #expect(made.fingerprint == loaded.fingerprint)
            #expect(made.pem == loaded.pem)
            #expect(try mode(of: directory) == 0o700)
            #expect(try mode(of: directory + "/authority.key") == 0o600)
            // What one has signed, the other's certificate vouches for.
            let identity = try makeIdentity(made)
            _ = try NodeIdentity(
                key: identity.key, certificatePEM: identity.certificatePEM, authorityPEM: loaded.pem)
        }
    }

    @Test func fingerprintIsTheHashOfTheDER() throws {
        let authority = try CertificateAuthority(at: now)
        let der = try Certificate(pemEncoded: authority.pem).serializeAsPEM().derBytes
        #expect(authority.fingerprint == Hex.encode(SHA256.hash(data: der)))
        #expect(authority.fingerprint.count == 64)
        #expect(abs(authority.expires.timeIntervalSince(now) - 3650 * day) < 2)
        #expect("\(authority)".contains("PRIVATE") == false)
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o644] as [mode_t])
    func refusesAKeyThatOthersCanRead(mode: mode_t) throws {
        try withTemporaryDirectory { directory in
            _ = try CertificateAuthority.open(directory: directory, at: now)
            #expect(chmod(directory + "/authority.key", mode) == 0)
            let error = expectFailure(.forbidden) { _ = try CertificateAuthority.open(directory: directory, at: now) }
            #expect(error?.message.contains("chmod 600") == true)
        }
    }

    @Test func refusesALinkInPlaceOfTheKey() throws {
        try withTemporaryDirectory { directory in
            _ = try CertificateAuthority.open(directory: directory, at: now)
            #expect(rename(directory + "/authority.key", directory + "/elsewhere") == 0)
            #expect(symlink(directory + "/elsewhere", directory + "/authority.key") == 0)
            expectFailure(.conflict) { _ = try CertificateAuthority.open(directory: directory, at: now) }
        }
    }

    @Test func refusesADirectoryThatOthersCanWriteTo() throws {
        try withTemporaryDirectory { directory in
            #expect(chmod(directory, 0o777) == 0)
            expectFailure(.forbidden) { _ = try CertificateAuthority.open(directory: directory, at: now) }
        }
    }

    @Test func refusesFilesThatDoNotBelongTogether() throws {
        try withTemporaryDirectory { directory in
            _ = try CertificateAuthority.open(directory: directory, at: now)
            let other = try CertificateAuthority(at: now)
            try AtomicFile.write(directory + "/authority.pem", Array(other.pem.utf8))
            expectFailure(.conflict) { _ = try CertificateAuthority.open(directory: directory, at: now) }
            try AtomicFile.write(directory + "/authority.key", Array("not a key".utf8))
            expectFailure(.conflict) { _ = try CertificateAuthority.open(directory: directory, at: now) }
            #expect(unlink(directory + "/authority.key") == 0)
            let error = expectFailure(.conflict) { _ = try CertificateAuthority.open(directory: directory, at: now) }
            #expect(error?.message.contains("backup") == true)
        }
    }

    @Test func finishesAFirstStartThatWasCutOff() throws {
        try withTemporaryDirectory { directory in
            _ = try CertificateAuthority.open(directory: directory, at: now)
            let key = try SmallFile.read(directory + "/authority.key", atMost: 4096)
            #expect(unlink(directory + "/authority.pem") == 0)
            let second = try CertificateAuthority.open(directory: directory, at: now)
            #expect(try SmallFile.read(directory + "/authority.key", atMost: 4096) == key)
            #expect(try CertificateAuthority.open(directory: directory, at: now).fingerprint == second.fingerprint)
        }
    }

    @Test func refusesToWorkAfterItsEnd() throws {
        try withTemporaryDirectory { directory in
            _ = try CertificateAuthority.open(directory: directory, at: now)
            expectFailure(.gone) {
                _ = try CertificateAuthority.open(directory: directory, at: now.addingTimeInterval(3651 * day))
            }
        }
    }
}

@Suite struct SigningTests {
    let authority: CertificateAuthority

    init() throws { authority = try CertificateAuthority(at: now) }

    @Test func choosesEverythingButTheKey() throws {
        let key = P256.Signing.PrivateKey()
        // The request asks to be an authority under the name of the controller.
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("fastable-controller") },
            privateKey: .init(key),
            attributes: try .init([
                .init(
                    ExtensionRequest(
                        extensions: try .init { Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil)) })
                )
            ]),
            signatureAlgorithm: .ecdsaWithSHA256)
        let node = NodeID()
        let issued = try authority.signNode(
            node, signingRequest: try request.serializeAsPEM().pemString, at: now)

        let certificate = try Certificate(pemEncoded: issued.pem)
        #expect(certificate.publicKey == Certificate.PublicKey(key.publicKey))
        #expect(try certificate.subject == DistinguishedName { CommonName(node.description) })
        #expect(certificate.notValidBefore == now.addingTimeInterval(-60))
        #expect(certificate.notValidAfter == now.addingTimeInterval(7 * day))
        #expect(issued.expires == certificate.notValidAfter)
        #expect(issued.serial == Hex.encode(certificate.serialNumber.bytes))
        #expect(certificate.serialNumber.bytes.count == 16)
        let extensions = certificate.extensions
        #expect(try extensions.basicConstraints == .notCertificateAuthority)
        #expect(try extensions.keyUsage == KeyUsage(digitalSignature: true))
        #expect(try extensions.extendedKeyUsage == ExtendedKeyUsage([.clientAuth]))
        #expect(
            try extensions.subjectAlternativeNames.map(Array.init)
                == [.uniformResourceIdentifier("urn:fastable:node:\(node)")])
    }

    @Test func serialsDiffer() throws {
        let request = try NodeKey().signingRequest()
        let serials = try (0..<32).map { _ in
            try authority.signNode(NodeID(), signingRequest: request, at: now).serial
        }
        #expect(Set(serials).count == 32)
    }

    @Test func refusesATamperedRequest() throws {
        let pem = try PEMDocument(pemString: try NodeKey().signingRequest())
        // The signature is a BIT STRING. The byte that counts its unused bits is signed by nobody and says nothing when
        // the last bit happens to be zero, so the parser may accept either value of it.
        let unusedBits = try #require(
            pem.derBytes.indices.dropLast(3).last {
                pem.derBytes[$0] == 0x03 && pem.derBytes[$0 + 2] == 0 && pem.derBytes[$0 + 3] == 0x30
                    && $0 + 2 + Int(pem.derBytes[$0 + 1]) == pem.derBytes.count
            })
        var accepted: [Int] = []
        for position in pem.derBytes.indices where position != unusedBits + 2 {
            var der = pem.derBytes
            der[position] ^= 1
            let text = PEMDocument(type: pem.discriminator, derBytes: der).pemString
            do {
                _ = try authority.signNode(NodeID(), signingRequest: text, at: now)
                accepted.append(position)
            } catch let error as FastableError {
                #expect(error.code == .invalid)
            }
        }
        #expect(accepted.isEmpty)
    }

    @Test func refusesARequestForSomebodyElsesKey() throws {
        let victim = try CertificateSigningRequest(pemEncoded: try NodeKey().signingRequest())
        let thief = try CertificateSigningRequest(pemEncoded: try NodeKey().signingRequest())
        let forged = try CertificateSigningRequest(
            version: .v1, subject: victim.subject, publicKey: victim.publicKey, attributes: .init(),
            signatureAlgorithm: .ecdsaWithSHA256, signature: thief.signature)
        let text = try forged.serializeAsPEM().pemString
        expectFailure(.invalid) { _ = try authority.signNode(NodeID(), signingRequest: text, at: now) }
    }

    @Test func refusesOtherKindsOfKeys() throws {
        let request = try CertificateSigningRequest(
            version: .v1, subject: try DistinguishedName { CommonName("x") },
            privateKey: .init(P384.Signing.PrivateKey()), attributes: .init(), signatureAlgorithm: .ecdsaWithSHA384)
        let text = try request.serializeAsPEM().pemString
        expectFailure(.invalid) { _ = try authority.signNode(NodeID(), signingRequest: text, at: now) }
    }

    @Test(arguments: ["", "hello", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"])
    func refusesWhatIsNoRequest(text: String) {
        expectFailure(.invalid) { _ = try authority.signNode(NodeID(), signingRequest: text, at: now) }
    }

    @Test func refusesAnOversizedRequest() {
        let text = String(repeating: "A", count: Limits.certificateTextBytes + 1)
        expectFailure(.tooLarge) { _ = try authority.signNode(NodeID(), signingRequest: text, at: now) }
    }

    @Test func serverCredentialCarriesNamesAndAddresses() throws {
        let credential = try authority.issueServerCredential(
            names: ["controller.example", "127.0.0.1", "::1"], at: now)
        let certificate = try Certificate(pemEncoded: credential.certificatePEM)
        #expect(try certificate.extensions.extendedKeyUsage == ExtendedKeyUsage([.serverAuth]))
        #expect(
            try certificate.extensions.subjectAlternativeNames.map(Array.init) == [
                .dnsName("controller.example"),
                .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
                .ipAddress(ASN1OctetString(contentBytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])),
            ])
        #expect("\(credential)".contains("PRIVATE") == false)
        expectFailure(.invalid) { _ = try authority.issueServerCredential(names: ["two words"], at: now) }
        expectFailure(.invalid) { _ = try authority.issueServerCredential(names: [], at: now) }
    }
}
