import AsyncHTTPClient
import ControllerDomain
import FastableCore
package import FoundationEssentials
import NIOCore
import NIOHTTP1

/// Posts one signed message to an address that a user named.
package protocol WebhookSending: Sendable {
    /// Throws `WebhookProblem` when the endpoint did not answer with a success.
    func send(_ body: Data, headers: [(name: String, value: String)], to url: String) async throws
}

/// Why a delivery failed, for the webhook's owner: the end of a sentence that begins with the endpoint.
package struct WebhookProblem: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = String(description.prefix(300)) }
}

/// Over HTTP. The name is resolved here, and the connection goes to the very address that was checked: a name that resolves to
/// something else the next moment leads nowhere else. Redirects are not followed.
package struct WebhookSender: WebhookSending {
    /// Whether addresses that are not public may be used: in a closed network, and in tests.
    private let allowsPrivate: Bool
    private let resolve: @Sendable (String) async throws -> [HostAddress]

    package init(
        allowsPrivate: Bool,
        resolve: @escaping @Sendable (String) async throws -> [HostAddress] = { try await HostAddress.resolve($0) }
    ) {
        self.allowsPrivate = allowsPrivate
        self.resolve = resolve
    }

    package func send(_ body: Data, headers: [(name: String, value: String)], to url: String) async throws {
        try WebhookURLRule.check(url, allowsPrivate: allowsPrivate)
        guard let host = URL(string: url)?.host else { throw WebhookProblem("has no host in its address") }
        // As the client takes it from the same URL.
        let name = host.hasPrefix("[") && host.hasSuffix("]") ? String(host.dropFirst().dropLast()) : host
        let address = try await address(of: name)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: Self.patience, read: Self.patience))
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        configuration.dnsOverride = [name: address]
        // A client of its own: connections to other people's endpoints are not kept.
        let client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await post(body, headers, url, client))
        } catch {
            outcome = .failure(error)
        }
        try? await client.shutdown()
        try outcome.get()
    }

    private static let patience = TimeAmount.seconds(Int64(Limits.webhookAnswerSeconds))

    private func post(
        _ body: Data, _ headers: [(name: String, value: String)], _ url: String, _ client: HTTPClient
    ) async throws {
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        for header in headers { request.headers.add(name: header.name, value: header.value) }
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "user-agent", value: "fastable/\(Version.text)")
        request.body = .bytes(ByteBuffer(bytes: body))
        let status: UInt
        do {
            // What it says beside its status is not read.
            status = try await client.execute(request, deadline: .now() + Self.patience).status.code
        } catch {
            try Task.checkCancellation()
            throw WebhookProblem("could not be reached: \(Self.reason(error))")
        }
        guard (200..<300).contains(status) else {
            let hint = (300..<400).contains(status) ? "; redirects are not followed" : ""
            throw WebhookProblem("answered \(status)\(hint)")
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError
        where error == .deadlineExceeded || error == .connectTimeout || error == .readTimeout:
            "no answer within \(Limits.webhookAnswerSeconds) seconds"
        default: "\(error)"
        }
    }

    private func address(of name: String) async throws -> String {
        let addresses = try await resolve(name)
        guard let first = addresses.first else { throw WebhookProblem("has a name that cannot be resolved") }
        guard allowsPrivate || addresses.allSatisfy(\.isPublic) else {
            throw WebhookProblem("has an address that is not on the public internet")
        }
        return first.text
    }
}
