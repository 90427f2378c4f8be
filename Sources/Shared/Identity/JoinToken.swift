import Crypto
public import FastableCore
import FoundationEssentials

/// What an operator carries from the controller to a new node: where to go, whom to trust there, and the right to join once.
///
/// Whoever has the text can join one node until it is used or an hour has passed. It prints redacted; ``text`` is the
/// real thing.
public struct JoinToken: Sendable, CustomStringConvertible {
    /// The public API, for the enrollment: `http://127.0.0.1:7420`.
    public let controllerURL: String
    /// Where the joined node dials its link.
    public let nodeListener: HostPort
    /// ``CertificateAuthority/fingerprint`` of the only authority that the node will accept.
    public let authorityFingerprint: String
    public let tokenID: JoinTokenID
    /// The node that joins again under its id; `nil` when a new one joins. It tells the host what to expect: what a token is good
    /// for stands in the controller's store.
    public let node: NodeID?
    private let secret: [UInt8]

    /// A new token with a random secret.
    ///
    /// - Throws: `invalid` when the URL is not `http(s)://host[:port]` or the fingerprint is none.
    public init(
        controllerURL: String, nodeListener: HostPort, authorityFingerprint: String, tokenID: JoinTokenID,
        node: NodeID? = nil
    ) throws {
        try self.init(
            controllerURL: controllerURL, nodeListener: nodeListener, authorityFingerprint: authorityFingerprint,
            tokenID: tokenID, node: node,
            secret: (0..<JoinTokenFormat.secretBytes).map { _ in .random(in: .min ... .max) })
    }

    private init(
        controllerURL: String, nodeListener: HostPort, authorityFingerprint: String, tokenID: JoinTokenID,
        node: NodeID?,
        secret: [UInt8]
    ) throws {
        guard let url = Self.plainURL(controllerURL) else {
            throw FastableError(
                .invalid, "The controller's address must look like https://host or http://host:port, without a path.")
        }
        guard Hex.decode(authorityFingerprint)?.count == SHA256.byteCount else {
            throw FastableError(.invalid, "The authority's fingerprint must be 64 hexadecimal digits.")
        }
        guard 1...65535 ~= nodeListener.port else {
            throw FastableError(.invalid, "The node listener's port must be in the range 1 to 65535.")
        }
        self.controllerURL = url
        self.nodeListener = nodeListener
        self.authorityFingerprint = authorityFingerprint
        self.tokenID = tokenID
        self.node = node
        self.secret = secret
    }

    /// Reads a token that a person has copied.
    ///
    /// - Throws: `invalid` when it is no join token or a part of it is missing.
    public init(_ text: String) throws {
        let fields = try JoinTokenFormat.unpack(text)
        guard let listener = HostPort(fields.nodeListener), let tokenID = JoinTokenID(fields.tokenID) else {
            throw JoinTokenFormat.unreadable
        }
        let node = NodeID(fields.node)
        guard node != nil || fields.node.isEmpty else { throw JoinTokenFormat.unreadable }
        try self.init(
            controllerURL: fields.controllerURL, nodeListener: listener,
            authorityFingerprint: Hex.encode(fields.fingerprint), tokenID: tokenID, node: node, secret: fields.secret)
    }

    /// The text for the operator: `fjt_` and base64url.
    public var text: Secret {
        JoinTokenFormat.pack(
            .init(
                fingerprint: Hex.decode(authorityFingerprint) ?? [], secret: secret, tokenID: tokenID.description,
                nodeListener: nodeListener.description, controllerURL: controllerURL, node: node?.description ?? ""))
    }

    public var description: String { "join token \(tokenID) ‹redacted›" }

    /// What the controller keeps to recognise the token, and what both ends authenticate their messages with.
    public var enrollmentKey: EnrollmentKey { EnrollmentKey(secret: secret, tokenID: tokenID) }

    /// The URL without a final slash, when it consists of scheme, host and port only.
    private static func plainURL(_ text: String) -> String? {
        guard text.utf8.count <= 512, let parts = URLComponents(string: text), let scheme = parts.scheme?.lowercased(),
            scheme == "http" || scheme == "https", let host = parts.host, !host.isEmpty,
            parts.path.isEmpty || parts.path == "/",
            parts.user == nil, parts.password == nil, parts.query == nil, parts.fragment == nil
        else { return nil }
        let bare = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let standard = scheme == "https" ? 443 : 80
        guard let address = HostPort(host: bare, port: parts.port ?? standard), address.port > 0 else { return nil }
        let plainHost = bare.contains(":") ? "[\(bare)]" : bare
        return parts.port == nil ? "\(scheme)://\(plainHost)" : "\(scheme)://\(address)"
    }
}

/// Proves the possession of a join token without showing it: HKDF of the token's secret.
///
/// The controller stores this key, not the token. A thief of the store can use the join tokens that are neither used nor
/// expired, because the key is all that the proof needs; he cannot read the token itself, and a used or expired one is
/// worth nothing.
public struct EnrollmentKey: Sendable, CustomStringConvertible {
    let key: SymmetricKey

    init(secret: [UInt8], tokenID: JoinTokenID) {
        key = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: secret), salt: Array(tokenID.description.utf8),
            info: Array("fastable enrollment 1".utf8), outputByteCount: 32)
    }

    /// A key that was stored as ``text``; `nil` when it is damaged.
    public init?(_ text: Secret) {
        guard let bytes = Hex.decode(text.reveal()), bytes.count == 32 else { return nil }
        key = SymmetricKey(data: bytes)
    }

    /// 64 hexadecimal digits for the controller's store.
    public var text: Secret { Secret(key.withUnsafeBytes { Hex.encode($0) }) }

    public var description: String { "enrollment key ‹redacted›" }
}
