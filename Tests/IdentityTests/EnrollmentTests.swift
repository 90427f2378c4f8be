import FastableCore
import FastableIdentity
import FoundationEssentials
import TestSupport
import Testing

@Suite struct EnrollmentTests {
    let authority: CertificateAuthority
    let token: JoinToken
    let stored: EnrollmentKey
    let key = NodeKey()

    init() throws {
        authority = try CertificateAuthority(at: now)
        token = try Self.token(for: authority)
        stored = try #require(EnrollmentKey(token.enrollmentKey.text))
    }

    static func token(for authority: CertificateAuthority) throws -> JoinToken {
        try JoinToken(
            controllerURL: "http://127.0.0.1:7420", nodeListener: try #require(HostPort("127.0.0.1:7421")),
            authorityFingerprint: authority.fingerprint, tokenID: JoinTokenID())
    }

    /// What the controller does with a request.
    func serve(
        _ request: EnrollmentRequest, authority: CertificateAuthority? = nil, key: EnrollmentKey? = nil,
        at date: Date = now
    ) throws -> EnrollmentAnswer {
        let authority = authority ?? self.authority
        let key = key ?? stored
        try Enrollment.verify(request, key: key)
        let node = NodeID()
        let issued = try authority.signNode(node, signingRequest: request.signingRequest, at: date)
        return Enrollment.answer(
            to: request, key: key, node: node, certificate: issued.pem, authority: authority.pem)
    }

    @Test func aNodeJoins() throws {
        let request = try Enrollment.request(token: token, name: "build-1.example", key: key)
        // Both messages travel as JSON.
        let received = try JSON.decode(EnrollmentRequest.self, from: try JSON.encode(request))
        let answer = try JSON.decode(EnrollmentAnswer.self, from: try JSON.encode(try serve(received)))
        let identity = try Enrollment.accept(answer, to: request, token: token, key: key, at: now)
        #expect(identity.nodeID == answer.nodeID)
        #expect(identity.authorityPEM == authority.pem)
        #expect(!identity.renewalDue(at: now))
    }

    @Test func theSecretStaysAtHome() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        let text = String(decoding: try JSON.encode(request) + JSON.encode(try serve(request)), as: UTF8.self)
        #expect(!text.contains(token.text.reveal()))
        #expect(!text.contains(token.enrollmentKey.text.reveal()))
    }

    @Test func aChangedRequestIsRefused() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        let changes: [(inout EnrollmentRequest) throws -> Void] = [
            { $0.name = "m" },
            { $0.tokenID = JoinTokenID() },
            { $0.signingRequest = try NodeKey().signingRequest() },
            { $0.nonce[0] ^= 1 },
            { $0.nonce = Data() },
            { $0.mac[0] ^= 1 },
            { $0.mac[31] ^= 128 },
            { $0.mac = Data() },
            { $0.mac = $0.mac + Data([0]) },
            { $0.mac = $0.mac.prefix(31) },
        ]
        for change in changes {
            var changed = request
            try change(&changed)
            let error = expectFailure(.unauthenticated) { try Enrollment.verify(changed, key: stored) }
            #expect(error == Enrollment.refused)
        }
        let other = try Self.token(for: authority)
        #expect(throws: Enrollment.refused) { try Enrollment.verify(request, key: other.enrollmentKey) }
        try Enrollment.verify(request, key: stored)
    }

    /// Moving bytes from one field to its neighbour must not give the same authenticated text.
    @Test func fieldsAreKeptApart() throws {
        let request = try Enrollment.request(token: token, name: "node7", key: key)
        var moved = request
        moved.name = "node"
        moved.signingRequest = "7" + moved.signingRequest
        #expect(throws: Enrollment.refused) { try Enrollment.verify(moved, key: stored) }
    }

    @Test func aChangedAnswerIsRefused() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        let answer = try serve(request)
        let foreign = try CertificateAuthority(at: now)
        let elsewhere = try foreign.signNode(answer.nodeID, signingRequest: request.signingRequest, at: now)
        let changes: [(inout EnrollmentAnswer) throws -> Void] = [
            { $0.nodeID = NodeID() },
            { $0.certificate = elsewhere.pem },
            { $0.authority = foreign.pem },
            { $0.mac[5] ^= 4 },
            { $0.mac = Data() },
        ]
        for change in changes {
            var changed = answer
            try change(&changed)
            expectFailure(.unauthenticated) {
                _ = try Enrollment.accept(changed, to: request, token: token, key: key, at: now)
            }
        }
    }

    @Test func anOldAnswerIsRefused() throws {
        let first = try Enrollment.request(token: token, name: "n", key: key)
        let recorded = try serve(first)
        let second = try Enrollment.request(token: token, name: "n", key: key)
        #expect(first.nonce != second.nonce)
        expectFailure(.unauthenticated) {
            _ = try Enrollment.accept(recorded, to: second, token: token, key: key, at: now)
        }
    }

    @Test func theRequestsOwnMacIsNoAnswer() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        var answer = try serve(request)
        answer.mac = request.mac
        expectFailure(.unauthenticated) {
            _ = try Enrollment.accept(answer, to: request, token: token, key: key, at: now)
        }
    }

    /// Even somebody who knows the token's key cannot bring another authority than the pinned one.
    @Test func anotherAuthorityIsRefused() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        let answer = try serve(request, authority: try CertificateAuthority(at: now))
        let error = expectFailure(.unauthenticated) {
            _ = try Enrollment.accept(answer, to: request, token: token, key: key, at: now)
        }
        #expect(error?.message.contains("another authority") == true)
    }

    @Test func aCertificateForAnotherKeyOrNodeIsRefused() throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        func answer(signing text: String, as node: NodeID, saying said: NodeID) throws -> EnrollmentAnswer {
            let issued = try authority.signNode(node, signingRequest: text, at: now)
            return Enrollment.answer(
                to: request, key: stored, node: said, certificate: issued.pem, authority: authority.pem)
        }
        let node = NodeID()
        let wrong = [
            try answer(signing: try NodeKey().signingRequest(), as: node, saying: node),
            try answer(signing: request.signingRequest, as: node, saying: NodeID()),
            Enrollment.answer(
                to: request, key: stored, node: node, certificate: authority.pem, authority: authority.pem),
        ]
        for answer in wrong {
            expectFailure(.unauthenticated) {
                _ = try Enrollment.accept(answer, to: request, token: token, key: key, at: now)
            }
        }
    }

    @Test(arguments: [-8 * day, 2 * day])
    func aCertificateOutsideItsLifeIsRefused(shift: Double) throws {
        let request = try Enrollment.request(token: token, name: "n", key: key)
        let answer = try serve(request, at: now.addingTimeInterval(shift))
        let error = expectFailure(.unauthenticated) {
            _ = try Enrollment.accept(answer, to: request, token: token, key: key, at: now)
        }
        #expect(error?.message.contains("clocks") == true)
    }

    @Test(arguments: ["", "Upper", "a_b", "two words", "a\nb", "ü", String(repeating: "n", count: 64), "a/b"])
    func refusesNames(name: String) {
        let error = expectFailure(.unprocessable) {
            _ = try Enrollment.request(token: token, name: name, key: key)
        }
        #expect(error?.details["field"] == "name")
    }
}
