import Crypto
public import FastableCore
public import FoundationEssentials

/// What a node sends to `POST /api/nodes/enroll`.
public struct EnrollmentRequest: Codable, Sendable, Equatable {
    public var tokenID: JoinTokenID
    /// What the operator wants to call the node.
    public var name: String
    /// PEM.
    public var signingRequest: String
    /// 32 random bytes; the answer is bound to them.
    public var nonce: Data
    public var mac: Data
}

/// What the controller answers.
public struct EnrollmentAnswer: Codable, Sendable, Equatable {
    public var nodeID: NodeID
    /// PEM.
    public var certificate: String
    /// PEM of the authority's certificate.
    public var authority: String
    public var mac: Data
}

/// How a node joins: pure functions for both ends.
///
/// A new node has no certificate, so it cannot use the node listener and asks over the public API, which may be plain
/// HTTP on loopback. The messages therefore authenticate themselves with a key that both ends derive from the join
/// token: nobody on the way can change the request, answer in the controller's place, or give an old answer again. What
/// can be read on the way, certificates and a signing request, is public.
public enum Enrollment {
    private static let nonceBytes = 32

    /// The one answer to every token that does not count: unknown, wrong, used and expired ones look alike.
    public static let refused = FastableError(
        .unauthenticated,
        "The join token is wrong, already used or expired. Make a new one with: fastable node token")

    // MARK: the node

    /// - Throws: `unprocessable` when the name breaks the rule of `NodeName`.
    public static func request(token: JoinToken, name: String, key: NodeKey) throws -> EnrollmentRequest {
        try NodeName.check(name)
        var request = EnrollmentRequest(
            tokenID: token.tokenID, name: name, signingRequest: try key.signingRequest(),
            nonce: Data((0..<nonceBytes).map { _ in UInt8.random(in: .min ... .max) }), mac: Data())
        request.mac = mac(of: request, token.enrollmentKey)
        return request
    }

    /// Checks the answer and makes the node's identity of it.
    ///
    /// - Throws: `unauthenticated` when the answer was not made for this request with this token, comes from another
    ///   authority than the pinned one, or carries a certificate that does not fit the node's key or this moment.
    public static func accept(
        _ answer: EnrollmentAnswer, to request: EnrollmentRequest, token: JoinToken, key: NodeKey, at now: Date
    ) throws -> NodeIdentity {
        guard isValid(answer.mac, for: bytes(of: answer, to: request), token.enrollmentKey) else {
            throw FastableError(
                .unauthenticated,
                "The answer does not come from the controller that made this join token. Check the controller's "
                    + "address, and that nothing on the way changes its answers.")
        }
        let authority = try CertificateText.certificate(answer.authority, named: "authority's certificate")
        guard try CertificateText.fingerprint(authority) == token.authorityFingerprint else {
            throw FastableError(
                .unauthenticated,
                "The controller answers with another authority than the join token names. Make a new token.")
        }
        let identity = try NodeIdentity(
            key: key, certificatePEM: answer.certificate, authorityPEM: answer.authority)
        guard identity.nodeID == answer.nodeID else {
            throw FastableError(.unauthenticated, "The certificate names another node than the answer.")
        }
        guard token.node == nil || token.node == answer.nodeID else {
            throw FastableError(
                .unauthenticated, "The controller took this host in as another node than the join token names.")
        }
        guard identity.issued <= now, !identity.isExpired(at: now) else {
            throw FastableError(
                .unauthenticated,
                "The new certificate is not valid now. Set the clocks of this host and of the controller.")
        }
        return identity
    }

    // MARK: the controller

    /// Checks that the request was made with the token whose key was stored. Whether the token is used or expired is the
    /// store's knowledge; those cases throw ``refused`` too.
    ///
    /// - Throws: ``refused``; `unprocessable` when the name cannot be used.
    public static func verify(_ request: EnrollmentRequest, key: EnrollmentKey) throws {
        guard request.nonce.count == nonceBytes, request.signingRequest.utf8.count <= Limits.certificateTextBytes,
            isValid(request.mac, for: bytes(of: request), key)
        else { throw refused }
        try NodeName.check(request.name)
    }

    /// The answer to a request that ``verify(_:key:)`` has accepted.
    public static func answer(
        to request: EnrollmentRequest, key: EnrollmentKey, node: NodeID, certificate: String, authority: String
    ) -> EnrollmentAnswer {
        var answer = EnrollmentAnswer(nodeID: node, certificate: certificate, authority: authority, mac: Data())
        answer.mac = Data(HMAC<SHA256>.authenticationCode(for: bytes(of: answer, to: request), using: key.key))
        return answer
    }

    // MARK: what is authenticated

    private static func mac(of request: EnrollmentRequest, _ key: EnrollmentKey) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: bytes(of: request), using: key.key))
    }

    /// Compares in constant time.
    private static func isValid(_ mac: Data, for bytes: [UInt8], _ key: EnrollmentKey) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(mac, authenticating: bytes, using: key.key)
    }

    private static func bytes(of request: EnrollmentRequest) -> [UInt8] {
        canonical([
            Data("fastable enrollment request 1".utf8), Data(request.tokenID.description.utf8),
            Data(request.name.utf8), Data(request.signingRequest.utf8), request.nonce,
        ])
    }

    /// The request's MAC covers all of the request, so the answer is bound to exactly this one.
    private static func bytes(of answer: EnrollmentAnswer, to request: EnrollmentRequest) -> [UInt8] {
        canonical([
            Data("fastable enrollment answer 1".utf8), request.nonce, request.mac,
            Data(answer.nodeID.description.utf8), Data(answer.certificate.utf8), Data(answer.authority.utf8),
        ])
    }

    /// Every field with its length before it: two different messages never give the same bytes.
    private static func canonical(_ fields: [Data]) -> [UInt8] {
        fields.flatMap { field in
            withUnsafeBytes(of: UInt64(field.count).bigEndian) { Array($0) } + Array(field)
        }
    }
}
