import AsyncHTTPClient
import ControllerDomain
import FastableCore
import FoundationEssentials
import NIOCore
import NIOPosix

/// Posts one signed message to an address that a user named.
protocol WebhookSending: Sendable {
    /// Throws when the endpoint did not answer with a success.
    func send(_ body: Data, headers: [(String, String)], to url: String) async throws
}

/// Over HTTP. The name is resolved here, and the connection goes to the very address that was checked: a name that resolves to
/// something else the next moment leads nowhere else.
struct WebhookSender: WebhookSending {
    /// Whether addresses that are not public may be used: in a closed network, and in tests.
    let allowsPrivate: Bool

    func send(_ body: Data, headers: [(String, String)], to url: String) async throws {
        try WebhookURLRule.check(url, allowsPrivate: allowsPrivate)
        guard let host = URL(string: url)?.host else { throw WebhookProblem("the address has no host") }
        let name = host.trimmingPrefix("[").trimmingSuffix("]")
        let address = try await resolve(name)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(
                connect: .seconds(Int64(Limits.webhookAnswerSeconds)), read: .seconds(Int64(Limits.webhookAnswerSeconds))))
        configuration.connectionPool.retryConnectionEstablishment = false
        if name != address { configuration.dnsOverride = [name: address] }
        // A client of its own: connections to other people's endpoints are not kept.
        let client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
        let outcome: Result<Void, any Error>
        do {
            try await post(body, headers, url, client)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        try? await client.shutdown()
        try outcome.get()
    }

    private func post(_ body: Data, _ headers: [(String, String)], _ url: String, _ client: HTTPClient) async throws {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        for (name, value) in headers { request.headers.add(name: name, value: value) }
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "user-agent", value: "fastable/\(Version.text)")
        request.body = .bytes(ByteBuffer(bytes: body))
        let response: HTTPClientResponse
        do {
            response = try await client.execute(
                request, deadline: .now() + .seconds(Int64(Limits.webhookAnswerSeconds)))
        } catch {
            throw WebhookProblem("it could not be reached: \(error)")
        }
        guard (200..<300).contains(response.status.code) else {
            throw WebhookProblem("it answered \(response.status.code)")
        }
        // The rest of its answer is not wanted; the connection is closed with the client.
        _ = try? await response.body.collect(upTo: Limits.webhookAnswerBytes)
    }

    private func resolve(_ name: String) async throws -> String {
        let addresses: [SocketAddress]
        do {
            addresses = try await NIOThreadPool.singleton.runIfActive { try Self.addresses(of: name) }
        } catch {
            throw WebhookProblem("its name could not be resolved")
        }
        guard let first = addresses.first, let text = first.ipAddress else {
            throw WebhookProblem("its name could not be resolved")
        }
        guard allowsPrivate || addresses.allSatisfy(\.isPublic) else {
            throw WebhookProblem("its address is not on the public internet")
        }
        return text
    }

    private static func addresses(of name: String) throws -> [SocketAddress] {
        [try SocketAddress.makeAddressResolvingHost(name, port: 0)]
    }
}

/// Why a delivery failed, for the webhook's owner: the end of a sentence.
struct WebhookProblem: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = String(description.prefix(300)) }
}

extension SocketAddress {
    fileprivate var isPublic: Bool {
        withSockAddr { address, size in
            let bytes = UnsafeRawBufferPointer(start: address, count: size)
            // sockaddr_in has its address behind the family and the port, sockaddr_in6 also behind the flow.
            switch protocol {
            case .inet: return PublicAddress.isPublic(Array(bytes[4..<8]))
            case .inet6: return PublicAddress.isPublic(Array(bytes[8..<24]))
            default: return false
            }
        }
    }
}

extension String {
    fileprivate func trimmingPrefix(_ prefix: String) -> String { hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self }
    fileprivate func trimmingSuffix(_ suffix: String) -> String { hasSuffix(suffix) ? String(dropLast(suffix.count)) : self }
}
