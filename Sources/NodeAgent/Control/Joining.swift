import AsyncHTTPClient
public import FastableCore
import FastableIdentity
import FoundationEssentials
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1
import NIOSSL

/// Makes a host a node: turns a join token into an identity on disk.
public enum Joining {
    private static let answerBytes = 256 * 1024

    /// Asks the controller that the token names for a certificate and stores key, certificate and the link's address.
    ///
    /// - Returns: the node's id and the address that it will dial.
    /// - Throws: `unauthenticated` when the token does not count or the answer is not the controller's, `conflict` when this
    ///   host has already joined as another node than the token names, `unavailable` when the controller cannot be reached.
    public static func join(tokenText: String, name: String, identityDirectory: String) async throws
        -> (node: NodeID, listener: HostPort)
    {
        let token = try JoinToken(tokenText)
        if let existing = try NodeIdentity.load(directory: identityDirectory), existing.nodeID != token.node {
            throw FastableError(
                .conflict,
                "This host has already joined as \(existing.nodeID). For a new certificate, make a token with ‘fastable node "
                    + "token --node \(existing.nodeID)’. To join as another node, remove \(identityDirectory) first.")
        }
        try NodeIdentity.prepare(directory: identityDirectory)
        // Who has a copy of a node's old key must not be able to use its new certificate.
        let key = token.node == nil ? try NodeKey.open(directory: identityDirectory) : NodeKey()
        let request = try Enrollment.request(token: token, name: name, key: key)
        let answer = try await ask(token.controllerURL, request)
        let identity = try Enrollment.accept(answer, to: request, token: token, key: key, at: Date())
        try LinkAddress(listener: token.nodeListener.description).save(directory: identityDirectory)
        if token.node == nil {
            try identity.save(directory: identityDirectory)
        } else {
            try identity.saveWithKey(directory: identityDirectory)
        }
        return (identity.nodeID, token.nodeListener)
    }

    private static func ask(_ controllerURL: String, _ request: EnrollmentRequest) async throws -> EnrollmentAnswer {
        var configuration = HTTPClient.Configuration(tlsConfiguration: TLSProfiles.enrollmentClient())
        configuration.timeout.connect = .seconds(10)
        // A person waits and can try again; a refused connection is told at once.
        configuration.connectionPool.retryConnectionEstablishment = false
        let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        do {
            var message = HTTPClientRequest(url: controllerURL + "/api/nodes/enroll")
            message.method = .POST
            message.headers.add(name: "content-type", value: "application/json")
            message.body = .bytes(ByteBuffer(data: try JSON.encode(request)))
            let response = try await client.execute(message, timeout: .seconds(30))
            let body = Data(buffer: try await response.body.collect(upTo: answerBytes))
            try await client.shutdown()
            guard response.status == .ok else {
                let problem = try? JSON.decode(JSONValue.self, from: body)
                throw FastableError(
                    problem?["code"]?.string.flatMap(FastableError.Code.init(rawValue:)) ?? .unavailable,
                    problem?["detail"]?.string ?? "The controller answered with status \(response.status.code).")
            }
            guard let answer = try? JSON.decode(EnrollmentAnswer.self, from: body) else {
                throw FastableError(
                    .unavailable, "What answers at \(controllerURL) is no Fastable controller. Check the address.")
            }
            return answer
        } catch let error as FastableError {
            throw error
        } catch {
            try? await client.shutdown()
            try Task.checkCancellation()
            throw FastableError(
                .unavailable,
                "The controller at \(controllerURL) cannot be reached. Check the address and the network, then try again.",
                context: "\(error)")
        }
    }
}

/// Where this node dials, kept beside its identity.
struct LinkAddress: Codable {
    var listener: String

    private static func file(_ directory: String) -> String { directory + "/link.json" }

    func save(directory: String) throws {
        try AtomicFile.write(Self.file(directory), Array(try JSON.encode(self)))
    }

    static func load(directory: String) throws -> HostPort {
        guard let bytes = try SmallFile.read(file(directory), atMost: 4096),
            let address = HostPort(try JSON.decode(LinkAddress.self, from: Data(bytes)).listener)
        else {
            throw FastableError(
                .conflict, "\(file(directory)) is missing or damaged. Remove \(directory) and join the node again.")
        }
        return address
    }
}
