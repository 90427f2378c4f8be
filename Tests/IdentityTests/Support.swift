import FastableCore
import FastableIdentity
import FoundationEssentials
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Runs the body with a directory of its own and removes it, also when the body throws.
func withTemporaryDirectory<Result>(_ body: (String) throws -> Result) throws -> Result {
    var template = Array("/tmp/fastable-identity-XXXXXX".utf8CString)
    try #require(mkdtemp(&template) != nil)
    let directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: directory) }
    return try body(directory)
}

/// The permission bits of a file.
func mode(of path: String) throws -> UInt32 {
    var status = stat()
    try #require(lstat(path, &status) == 0)
    return status.st_mode & 0o7777
}

/// Expects the body to fail with this code and returns the error.
@discardableResult
func expectFailure(
    _ code: FastableError.Code, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> FastableError? {
    let error = #expect(throws: FastableError.self, sourceLocation: sourceLocation) { try body() }
    #expect(error?.code == code, "\(error?.description ?? "no error")", sourceLocation: sourceLocation)
    return error
}

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
