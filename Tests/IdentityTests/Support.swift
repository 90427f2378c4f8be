import Crypto
import FastableCore
import FastableIdentity
import FoundationEssentials

/// Whole seconds, as certificates keep them.
let now = Date(timeIntervalSince1970: Date().timeIntervalSince1970.rounded(.down))
let day: Double = 24 * 3600

/// A node that an authority has let in.
func makeIdentity(
    _ authority: CertificateAuthority, node: NodeID = NodeID(), key: NodeKey = NodeKey(), at date: Date = now
) throws -> NodeIdentity {
    let issued = try authority.signNode(node, signingRequest: try key.signingRequest(), at: date)
    return try NodeIdentity(key: key, certificatePEM: issued.pem, authorityPEM: authority.pem)
}

/// The checksum of a join token, so that hostile tokens get past it.
func checksum(_ bytes: [UInt8]) -> [UInt8] { Array(SHA256.hash(data: bytes).prefix(4)) }
