package import FastableCore
package import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A small HTTP server on a free port of loopback that keeps what it is sent, as somebody's webhook does.
package final class HTTPEndpoint: Sendable {
    package struct Request: Sendable {
        package var path: String
        /// Names in lower case.
        package var headers: [String: String]
        package var body: Data

        package func json() throws -> JSONValue { try JSON.decode(from: body) }
    }

    package struct Answer: Sendable {
        package var status: Int
        package var headers: [String: String]

        package init(_ status: Int, headers: [String: String] = [:]) {
            self.status = status
            self.headers = headers
        }

        package static let ok = Answer(204)
    }

    /// Gets the request and the number of those before it.
    package typealias Script = @Sendable (Request, Int) async -> Answer

    package let port: Int
    private let channel: any Channel
    private let log: RequestLog

    package var url: String { "http://127.0.0.1:\(port)/hook" }
    package var requests: [Request] { log.requests.withLock { $0 } }

    package static func with<Value: Sendable>(
        _ script: @escaping Script = { _, _ in .ok }, _ body: (HTTPEndpoint) async throws -> Value
    ) async throws -> Value {
        let endpoint = try await HTTPEndpoint(script)
        let result: Result<Value, any Error>
        do { result = .success(try await body(endpoint)) } catch { result = .failure(error) }
        try await endpoint.channel.close()
        return try result.get()
    }

    private init(_ script: @escaping Script) async throws {
        let log = RequestLog()
        self.log = log
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(RequestHandler(log: log, script: script))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }
}

private final class RequestLog: Sendable {
    let requests = Mutex<[HTTPEndpoint.Request]>([])
}

private final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let log: RequestLog
    private let script: HTTPEndpoint.Script
    private var request: HTTPEndpoint.Request?

    init(log: RequestLog, script: @escaping HTTPEndpoint.Script) {
        self.log = log
        self.script = script
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            let headers = head.headers.map { ($0.name.lowercased(), $0.value) }
            request = HTTPEndpoint.Request(
                path: head.uri, headers: Dictionary(headers) { first, _ in first }, body: Data())
        case .body(let part): request?.body.append(contentsOf: part.readableBytesView)
        case .end:
            guard let request else { return }
            let count = log.requests.withLock { requests in
                requests.append(request)
                return requests.count - 1
            }
            answer(request, count, on: context.channel)
        }
    }

    private func answer(_ request: HTTPEndpoint.Request, _ count: Int, on channel: any Channel) {
        let script = script
        Task {
            let answer = await script(request, count)
            var headers = HTTPHeaders(answer.headers.map { ($0.key, $0.value) })
            if answer.status != 204 { headers.add(name: "content-length", value: "0") }
            let head = HTTPResponseHead(
                version: .http1_1, status: HTTPResponseStatus(statusCode: answer.status), headers: headers)
            channel.write(HTTPServerResponsePart.head(head), promise: nil)
            channel.writeAndFlush(HTTPServerResponsePart.end(nil), promise: nil)
        }
    }
}
