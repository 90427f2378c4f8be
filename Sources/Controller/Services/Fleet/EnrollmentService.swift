import ControllerDomain
import ControllerFleet
import ControllerStore
public import FastableCore
public import FastableIdentity
import FoundationEssentials
import Logging

/// How nodes come to the fleet and leave it: join tokens, certificates, revocation.
public final class EnrollmentService: Sendable {
    /// Why a node was refused: for the log and the counters, never for the one who asks.
    private enum Refusal: String {
        case unknownToken = "unknown_token"
        case wrongProof = "wrong_proof"
        case used, expired
    }

    private let store: any Store
    private let nodes: any NodeDirectory
    private let authority: CertificateAuthority
    private let endpoints: EndpointBox
    private let audit: AuditLog
    private let metrics: Metrics
    private let logger: Logger

    init(
        store: any Store, nodes: any NodeDirectory, authority: CertificateAuthority,
        endpoints: EndpointBox, audit: AuditLog, metrics: Metrics, logger: Logger
    ) {
        self.store = store
        self.nodes = nodes
        self.authority = authority
        self.endpoints = endpoints
        self.audit = audit
        self.metrics = metrics
        self.logger = logger
    }

    /// A permission to join, valid once and for `Limits.joinTokenSeconds`. Only the derived key is stored.
    func makeJoinToken() async throws -> (token: JoinToken, expiresAt: Date) {
        let now = Date.nowMilliseconds
        let addresses = endpoints.current
        let token = try JoinToken(
            controllerURL: addresses.apiURL, nodeListener: addresses.nodeListener,
            authorityFingerprint: authority.fingerprint, tokenID: TokenID())
        guard let key = Hex.decode(token.enrollmentKey.text.reveal()) else {
            throw FastableError(.internal, "The join token has no key.")
        }
        let expiresAt = now.addingTimeInterval(Double(Limits.joinTokenSeconds))
        try await store.createJoinToken(
            JoinTokenRecord(
                id: try Self.storedID(token.tokenID), verificationKey: key, createdAt: now, expiresAt: expiresAt))
        return (token, expiresAt)
    }

    /// Takes a node in. Throws `unauthenticated`, in the same words for an unknown, used or expired token and for a wrong
    /// proof; `unprocessable` and `conflict` for the node's name; `invalid` for the signing request. Only a node that was
    /// taken in uses the token up.
    public func enroll(
        _ request: EnrollmentRequest, remoteAddress: String, requestID: RequestID
    ) async throws -> EnrollmentAnswer {
        let now = Date.nowMilliseconds
        let tokenID = try Self.storedID(request.tokenID)
        let key = try await verifiedKey(of: request, tokenID, remoteAddress, now)
        try Rules.nodeName(request.name)
        try await requireFree(name: request.name)
        let node = NodeID()
        let certificate = try authority.signNode(node, signingRequest: request.signingRequest, at: now)
        switch try await store.consumeJoinToken(tokenID, by: node, at: now) {
        case .accepted: break
        case .alreadyUsed: throw refuse(.used, request, remoteAddress)
        case .expired: throw refuse(.expired, request, remoteAddress)
        case .unknown: throw refuse(.unknownToken, request, remoteAddress)
        }
        try await store.createNode(NodeRecord(id: node, name: request.name, createdAt: now))
        try await record(certificate, of: node)
        metrics.add(.enrollments, 1, ["ok"])
        await audit.append(
            AuditEvent(
                timeMilliseconds: now.milliseconds, workspace: .system, actor: nil, door: .rest, request: requestID,
                operation: "nodes_enroll", subject: request.name, phase: .outcome,
                detail: ["node": .string(node.description), "remoteAddress": .string(remoteAddress)]))
        logger.notice(
            "A node joined.", metadata: ["node": "\(node)", "name": "\(request.name)", "remote": "\(remoteAddress)"])
        return Enrollment.answer(
            to: request, key: key, node: node, certificate: certificate.pem, authority: authority.pem)
    }

    /// Removes a node: its certificates are revoked and its link is cut. Throws `conflict` when projects live on it and
    /// `force` is not set; their files stay on the host.
    func remove(_ node: NodeRecord, force: Bool) async throws {
        let projects = try await store.nodeLoads(for: .system)[node.id]?.projects ?? 0
        guard projects == 0 || force else {
            throw FastableError(
                .conflict,
                "\(projects) projects live on the node ‘\(node.name)’. Delete them first, or remove it with force: their "
                    + "files stay on that host and the projects can no longer be used.",
                details: ["projects": .integer(Int64(projects))])
        }
        let serials = try await store.removeNode(node.id, at: .nowMilliseconds)
        nodes.disconnect(node.id, reason: "The node was removed.")
        logger.notice(
            "A node was removed.",
            metadata: ["node": "\(node.id)", "name": "\(node.name)", "serials": "\(serials.joined(separator: " "))"])
    }

    // MARK: certificates

    /// The node that a certificate stands for. Throws `unauthenticated` when it was never issued here, was revoked, or its
    /// node was removed.
    func authorize(certificateDER: [UInt8]) async throws -> NodeID {
        let certificate = try NodeCertificate(peerCertificateDER: certificateDER, at: .nowMilliseconds)
        guard let record = try await store.certificate(serial: certificate.serial), record.node == certificate.nodeID
        else {
            throw FastableError(.unauthenticated, "This controller did not issue the certificate. Join the node again.")
        }
        guard record.revokedAt == nil else {
            throw FastableError(
                .unauthenticated, "The node's certificate was revoked. Join the node again with a new join token.")
        }
        return record.node
    }

    /// Signs a connected node's next certificate. Throws `gone` for a removed node.
    func renew(_ node: NodeID, _ request: CertificateRequest) async throws -> CertificateAnswer {
        let certificate = try authority.signNode(
            node, signingRequest: request.signingRequest, at: .nowMilliseconds)
        try await record(certificate, of: node)
        logger.info(
            "A node's certificate was renewed.", metadata: ["node": "\(node)", "serial": "\(certificate.serial)"])
        return CertificateAnswer(certificate: certificate.pem, authority: authority.pem)
    }

    private func record(_ certificate: IssuedCertificate, of node: NodeID) async throws {
        try await store.recordCertificate(
            CertificateRecord(serial: certificate.serial, node: node, expiresAt: certificate.expires))
    }

    // MARK: checks

    private func verifiedKey(
        of request: EnrollmentRequest, _ tokenID: JoinTokenID, _ remoteAddress: String, _ now: Date
    ) async throws -> EnrollmentKey {
        guard let token = try await store.joinToken(tokenID),
            let key = EnrollmentKey(Secret(Hex.encode(token.verificationKey)))
        else { throw refuse(.unknownToken, request, remoteAddress) }
        do {
            try Enrollment.verify(request, key: key)
        } catch let error as FastableError where error.code == .unauthenticated {
            throw refuse(.wrongProof, request, remoteAddress)
        }
        if token.usedAt != nil { throw refuse(.used, request, remoteAddress) }
        if token.expiresAt <= now { throw refuse(.expired, request, remoteAddress) }
        return key
    }

    /// A name that is taken must not cost the token.
    private func requireFree(name: String) async throws {
        do {
            _ = try await store.node(.name(name))
        } catch let error as FastableError where error.code == .notFound {
            return
        }
        throw FastableError(
            .conflict, "There is a node ‘\(name)’ already. Join with another name, or remove that one first.",
            details: ["field": "name"])
    }

    private func refuse(_ why: Refusal, _ request: EnrollmentRequest, _ remoteAddress: String) -> FastableError {
        metrics.add(.enrollments, 1, [why.rawValue])
        logger.warning(
            "A node was refused.",
            metadata: [
                "reason": "\(why.rawValue)", "remote": "\(remoteAddress)", "token": "\(request.tokenID)",
                "name": "\(request.name.shortened)",
            ])
        return Enrollment.refused
    }

    /// A join token's id in the store's kind: the same 128 bits under another prefix.
    private static func storedID(_ id: TokenID) throws -> JoinTokenID {
        let suffix = id.description.dropFirst(TokenKind.prefix.utf8.count)
        guard let stored = JoinTokenID(JoinTokenKind.prefix + suffix) else {
            throw FastableError(.internal, "The join token's id cannot be stored.")
        }
        return stored
    }
}
