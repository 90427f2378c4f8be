import AsyncHTTPClient
import FastableCore
import Foundation
import NIOCore
import NIOFoundationEssentialsCompat
import NIOHTTP1

/// Talks to one controller.
struct Client {
    let url: String
    let tokenFile: String
    private let token: Secret

    init(context: Contexts.Context) throws {
        url = context.url.hasSuffix("/") ? String(context.url.dropLast()) : context.url
        tokenFile = context.tokenFile
        guard let text = try? String(contentsOfFile: tokenFile, encoding: .utf8) else {
            throw FastableError(
                .unauthenticated, "The token file \(tokenFile) cannot be read. Log in again: fastable login --help")
        }
        token = Secret(text.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// What is on a loopback address may still be a tunnel.
    var isOnThisMachine: Bool {
        let host = URLComponents(string: url)?.host?.trimmingCharacters(in: ["[", "]"]) ?? ""
        return HostPort(host: host, port: 0)?.isLoopback ?? false
    }

    /// Not the library's shared client: that one gives up on a command that prints nothing for 90 seconds, tries a refused
    /// connection again and again, and follows redirects with the token.
    private static let http: HTTPClient = {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow, timeout: .init(connect: .seconds(10), read: nil))
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        configuration.http1_1ConnectionDebugInitializer = { VanishedController.watch($0) }
        return HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }()

    /// Runs one operation and gives its answer as JSON.
    func run(_ operation: String, _ input: JSONValue, key: String? = nil) async throws -> Data {
        var request = self.request(.POST, "/api/tools/\(operation)")
        request.headers.add(name: "content-type", value: "application/json")
        if let key {
            request.headers.add(name: "idempotency-key", value: key)
            request.headers.add(name: "idempotency-seconds", value: "\(Client.keySeconds)")
        }
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let response = try await send(request, timeout: .seconds(Int64(Limits.execTimeoutLongestSeconds) + 60))
        return try await Client.body(of: response)
    }

    /// Runs one operation exactly once, although its answer may get lost: it is asked for again under the same key, also of the next
    /// controller, until it is known how it ended.
    func runOnce(_ operation: String, _ input: JSONValue) async throws -> Data {
        let key = UUID().uuidString.lowercased()
        var attempts = OnceAttempts()
        while true {
            do {
                return try await run(operation, input, key: key)
            } catch let error as FastableError where Client.hasNoRoomForKey(error) {
                return try await run(operation, input)
            } catch let error as FastableError {
                guard let pause = attempts.pause(after: error, now: .now) else { throw error }
                try await Task.sleep(for: pause)
            }
        }
    }

    /// Nothing has begun under it.
    private static func hasNoRoomForKey(_ error: FastableError) -> Bool {
        error.code == .limit && error.details["field"] == .string("Idempotency-Key")
    }

    /// As long as an answer may take, and the time for which it is asked for again.
    private static let keySeconds = Limits.execTimeoutLongestSeconds + 300

    /// Runs one operation and reads its answer as a value.
    func run<Value: Decodable>(_ operation: String, _ input: JSONValue, as type: Value.Type) async throws -> Value {
        try JSON.decode(type, from: try await run(operation, input))
    }

    /// Runs one operation and shows its events as they come; its answer as JSON is the last of them.
    func follow(
        _ operation: String, _ input: JSONValue, timeoutSeconds: Int64 = Int64(Limits.execTimeoutLongestSeconds) + 60,
        _ show: (_ event: String, _ data: Data) throws -> Void
    ) async throws -> Data {
        var request = self.request(.POST, "/api/tools/\(operation)")
        request.headers.add(name: "content-type", value: "application/json")
        request.headers.add(name: "accept", value: "text/event-stream")
        request.body = .bytes(ByteBuffer(data: try JSON.encode(input)))
        let response = try await send(request, timeout: .seconds(timeoutSeconds))
        var lines = EventLines()
        do {
            for try await chunk in response.body {
                for (event, data) in lines.take(Array(chunk.readableBytesView)) {
                    switch event {
                    case "result": return data
                    case "error": throw try JSON.decode(FastableError.self, from: data)
                    default: try show(event, data)
                    }
                }
            }
        } catch { throw Client.lost(error) }
        throw Client.lost(CancellationError())
    }

    var authorization: String { "Bearer \(token.reveal())" }

    func request(_ method: HTTPMethod, _ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = method
        request.headers.add(name: "authorization", value: authorization)
        request.headers.add(name: "user-agent", value: "fastable/\(Version.text)")
        return request
    }

    /// Sends a request; an answer that is not a success is thrown as the error that it carries.
    func send(_ request: HTTPClientRequest, timeout: TimeAmount) async throws -> HTTPClientResponse {
        let response: HTTPClientResponse
        do {
            response = try await Client.http.execute(request, deadline: .now() + timeout)
        } catch let error as FastableError {
            throw error
        } catch let error as HTTPClientError where error == .remoteConnectionClosed {
            throw Client.lost(error)
        } catch let error as IOError where [ECONNRESET, EPIPE, ETIMEDOUT].contains(error.errnoCode) {
            throw Client.lost(error)
        } catch let error as HTTPClientError where error == .bodyLengthMismatch {
            throw FastableError(.conflict, "The file changed while it was read, and was not taken. Try again.")
        } catch let error as HTTPClientError where error == .deadlineExceeded {
            throw FastableError(.timeout, "The controller at \(url) did not answer in time. Try again.")
        } catch is CancellationError {
            throw FastableError(.cancelled, "Interrupted.")
        } catch {
            throw FastableError(
                .unavailable, "No controller answers at \(url). Is it running? (‘make up’ starts one.)",
                context: "\(error)")
        }
        guard !(200..<300).contains(response.status.code) else { return response }
        throw Client.problem(response.status, ByteBuffer(data: try await Client.body(of: response)), at: url)
    }

    /// The error that an answer's body tells.
    static func problem(_ status: HTTPResponseStatus, _ body: ByteBuffer, at url: String) -> FastableError {
        if let told = try? JSON.decode(Problem.self, from: Data(buffer: body)).error { return told }
        // What a proxy says while the controller behind it is away.
        if [.badGateway, .serviceUnavailable, .gatewayTimeout].contains(status) {
            return FastableError(
                .unavailable,
                "No controller answers behind \(url) at the moment (\(status.code) \(status.reasonPhrase)). Try again.")
        }
        return FastableError(.internal, "What answers at \(url) is no Fastable controller.")
    }

    /// The whole body of an answer.
    static func body(of response: HTTPClientResponse) async throws -> Data {
        do {
            return Data(buffer: try await response.body.collect(upTo: answerBytes))
        } catch is NIOTooManyBytesError {
            throw FastableError(.tooLarge, "The answer is larger than \(answerBytes) bytes. Ask for less.")
        } catch {
            throw lost(error)
        }
    }

    /// An answer that broke off.
    static func lost(_ cause: any Error) -> FastableError {
        if let known = cause as? FastableError { return known }
        return FastableError(
            .unavailable, "The connection to the controller was lost before its answer was complete. Try again.",
            context: "\(cause)", details: ["isAnswerLost": true])
    }

    private static let answerBytes = 64 * 1024 * 1024
}

/// The part of RFC 9457's problem document that the CLI shows.
private struct Problem: Decodable {
    var code: String
    var detail: String
    var details: [String: JSONValue]?

    var error: FastableError {
        FastableError(FastableError.Code(rawValue: code) ?? .internal, detail, details: details ?? [:])
    }
}
