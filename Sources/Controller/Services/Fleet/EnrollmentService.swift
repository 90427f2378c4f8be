import ControllerDomain
import ControllerFleet
import ControllerStore
public import FastableCore
public import FastableIdentity
import FoundationEssentials
import Logging
import Synchronization

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
    private let renewals = Mutex(RenewalLimit())

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
    ///
    /// - Parameter node: lets this node join again, under its id; a new one when it is `nil`. Throws `gone` for a removed one.
    func makeJoinToken(for node: NodeRecord? = nil) async throws -> (token: JoinToken, expiresAt: Date) {
        if let node, node.scheduling == .removed { throw Self.removed(node) }
        let now = Date.nowMilliseconds
        let addresses = endpoints.current
        let token = try JoinToken(
            controllerURL: addresses.apiURL, nodeListener: addresses.nodeListener,
            authorityFingerprint: authority.fingerprint, tokenID: JoinTokenID(), node: node?.id)
        guard let key = Hex.decode(token.enrollmentKey.text.reveal()) else {
            throw FastableError(.internal, "The join token has no key.")
        }
        let expiresAt = now.addingTimeInterval(Double(Limits.joinTokenSeconds))
        try await store.createJoinToken(
            JoinTokenRecord(
                id: token.tokenID, verificationKey: key, node: node?.id, createdAt: now, expiresAt: expiresAt))
        return (token, expiresAt)
    }

    /// Takes a node in. Throws `unauthenticated`, in the same words for an unknown, used or expired token and for a wrong
    /// proof; `unprocessable` and `conflict` for the node's name; `invalid` for the signing request; `gone` when the node that
    /// should join again was removed. Only a node that was taken in uses the token up.
    ///
    /// Whether a new node joins or one joins again is the stored token's word alone: nothing in the request can ask for an id.
    public func enroll(
        _ request: EnrollmentRequest, remoteAddress: String, requestID: RequestID
    ) async throws -> EnrollmentAnswer {
        let now = Date.nowMilliseconds
        let (token, key) = try await verifiedToken(of: request, remoteAddress, now)
        if let node = token.node { try await requirePresent(node) } else { try await requireFree(name: request.name) }
        let node = token.node ?? NodeID()
        let certificate = try authority.signNode(node, signingRequest: request.signingRequest, at: now)
        switch try await store.consumeJoinToken(token.id, by: node, at: now) {
        case .accepted: break
        case .alreadyUsed: throw refuse(.used, request, remoteAddress)
        case .expired: throw refuse(.expired, request, remoteAddress)
        case .unknown: throw refuse(.unknownToken, request, remoteAddress)
        }
        var detail: [String: JSONValue] = [
            "node": .string(node.description), "remoteAddress": .string(remoteAddress),
        ]
        if token.node == nil {
            try await store.createNode(NodeRecord(id: node, name: request.name, createdAt: now))
            try await store.recordCertificate(CertificateRecord(certificate, of: node))
        } else {
            detail["revoked"] = .array(try await readmit(node, certificate, at: now).map { .string($0) })
        }
        metrics.add(.enrollments, 1, [token.node == nil ? "ok" : "rejoined"])
        await audit.append(
            AuditEvent(
                timeMilliseconds: now.milliseconds, workspace: .system, actor: nil, door: .rest, request: requestID,
                operation: token.node == nil ? "nodes_enroll" : "nodes_rejoin", subject: request.name, phase: .outcome,
                detail: detail))
        logger.notice(
            token.node == nil ? "A node joined." : "A node joined again.",
            metadata: ["node": "\(node)", "name": "\(request.name)", "remote": "\(remoteAddress)"])
        return Enrollment.answer(
            to: request, key: key, node: node, certificate: certificate.pem, authority: authority.pem)
    }

    /// Gives a node a certificate beside which no other one counts, and cuts the link that stands on another. Revoked first, cut
    /// then: a link that comes up meanwhile is checked once more when it is registered, and a renewal when it is recorded.
    private func readmit(_ node: NodeID, _ certificate: IssuedCertificate, at now: Date) async throws -> [String] {
        let revoked = try await store.replaceCertificates(with: CertificateRecord(certificate, of: node), at: now)
        nodes.disconnect(node, reason: "The node joined again, with another certificate.")
        return revoked
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

    /// Signs a connected node's next certificate. Throws `gone` for a removed node, `unauthenticated` when the certificate that the
    /// node has was revoked, `limit` when it asks too often.
    func renew(_ node: NodeID, serial: String, _ request: CertificateRequest) async throws -> RenewedCertificate {
        if let wait = renewals.withLock({ $0.take(node, now: .now) }) {
            throw FastableError(
                .limit,
                "A node may renew its certificate \(Limits.certificateRenewalsPerHour) times in an hour, and this one did.",
                details: ["limit": .integer(Int64(Limits.certificateRenewalsPerHour))],
                retryAfterSeconds: Int(wait.components.seconds) + 1)
        }
        let certificate = try authority.signNode(
            node, signingRequest: request.signingRequest, at: .nowMilliseconds)
        try await store.recordCertificate(CertificateRecord(certificate, of: node), renewing: serial)
        logger.info(
            "A node's certificate was renewed.", metadata: ["node": "\(node)", "serial": "\(certificate.serial)"])
        return RenewedCertificate(
            answer: CertificateAnswer(certificate: certificate.pem, authority: authority.pem),
            serial: certificate.serial)
    }

    // MARK: checks

    private func verifiedToken(
        of request: EnrollmentRequest, _ remoteAddress: String, _ now: Date
    ) async throws -> (JoinTokenRecord, EnrollmentKey) {
        guard let token = try await store.joinToken(request.tokenID),
            let key = EnrollmentKey(Secret(Hex.encode(token.verificationKey)))
        else { throw refuse(.unknownToken, request, remoteAddress) }
        do {
            try Enrollment.verify(request, key: key)
        } catch let error as FastableError where error.code == .unauthenticated {
            throw refuse(.wrongProof, request, remoteAddress)
        }
        if token.usedAt != nil { throw refuse(.used, request, remoteAddress) }
        if token.expiresAt <= now { throw refuse(.expired, request, remoteAddress) }
        return (token, key)
    }

    private func requirePresent(_ node: NodeID) async throws {
        let record = try await store.node(.id(node))
        guard record.scheduling != .removed else { throw Self.removed(record) }
    }

    private static func removed(_ node: NodeRecord) -> FastableError {
        FastableError(
            .gone, "The node ‘\(node.name)’ was removed and cannot join again. Let its host join as a new one.")
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
}

extension CertificateRecord {
    fileprivate init(_ certificate: IssuedCertificate, of node: NodeID) {
        self.init(serial: certificate.serial, node: node, expiresAt: certificate.expires)
    }
}
