import FastableCore
import NIOCore
import NIOHTTP1
import NIOSSL
import Synchronization

/// One incoming connection until it is a link: who it is, or why it is refused. The refusal is reported exactly once.
final class LinkAdmission<Identity: Sendable>: Sendable {
    private enum State: Sendable {
        case handshaking
        case admitted(Identity)
        /// The upgrade is done: what happens from now on is the link's business.
        case upgraded
        case refused(FastableError)
    }

    private let state = Mutex(State.handshaking)
    private let authorize: @Sendable ([UInt8]) async throws -> Identity
    private let report: @Sendable (FastableError) -> Void

    init(
        authorize: @escaping @Sendable ([UInt8]) async throws -> Identity,
        report: @escaping @Sendable (FastableError) -> Void
    ) {
        self.authorize = authorize
        self.report = report
    }

    /// Answers the upgrade request: the headers of a yes, or `nil`.
    func decide(on request: HTTPRequestHead, channel: any Channel) -> EventLoopFuture<HTTPHeaders?> {
        guard Self.isForLink(request) else {
            refuse(FastableError(.notFound, Self.nothingHere, context: "\(request.method) \(request.uri)"))
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        guard let certificate = try? channel.pipeline.syncOperations.nioSSL_peerCertificate(),
            let bytes = try? certificate.toDERBytes()
        else {
            refuse(FastableError(.unauthenticated, "A node must present its certificate. Enrol it first."))
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        return channel.eventLoop.makeFutureWithTask {
            do {
                let identity = try await self.authorize(bytes)
                self.admit(identity)
                return [LinkProtocol.subprotocolHeader: LinkProtocol.subprotocol]
            } catch {
                self.refuse(FastableError.unexpected(error, doing: "checking the node's certificate"))
                return nil
            }
        }
    }

    /// `Connection: upgrade` and no body are insisted on: the HTTP parser then hands on what follows the request as raw bytes,
    /// as the link's pipeline expects, and not as the parts of another request.
    private static func isForLink(_ request: HTTPRequestHead) -> Bool {
        let headers = request.headers
        return request.method == .GET && request.uri.prefix { $0 != "?" } == LinkProtocol.path
            && headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
            && headers[canonicalForm: LinkProtocol.subprotocolHeader].contains { $0 == LinkProtocol.subprotocol }
            && !headers.contains(name: "transfer-encoding")
            && headers["content-length"].allSatisfy { $0 == "0" }
    }

    private static var nothingHere: String { "There is nothing here but the node link." }

    private func admit(_ identity: Identity) {
        state.withLock { if case .handshaking = $0 { $0 = .admitted(identity) } }
    }

    /// The identity of the finished upgrade; `nil` when the connection was refused meanwhile.
    func upgraded() -> Identity? {
        state.withLock { state in
            guard case .admitted(let identity) = state else { return nil }
            state = .upgraded
            return identity
        }
    }

    func refuse(_ error: FastableError) {
        let isFirst = state.withLock { state in
            switch state {
            case .handshaking, .admitted:
                state = .refused(error)
                return true
            case .refused, .upgraded:
                return false
            }
        }
        if isFirst { report(error) }
    }

    /// What a peer that is not upgraded is told.
    func refusal() -> FastableError {
        // Nobody asked for the upgrade, so nobody decided: a browser or a health check.
        refuse(FastableError(.notFound, Self.nothingHere))
        return state.withLock { state in
            if case .refused(let error) = state { return error }
            return FastableError(.internal, "The link could not be made.")
        }
    }
}

/// Sees how the handshakes of an incoming connection fail. Sits right behind TLS.
final class LinkHandshakeWatch<Identity: Sendable>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let admission: LinkAdmission<Identity>

    init(admission: LinkAdmission<Identity>) { self.admission = admission }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        admission.refuse(
            FastableError(.unauthenticated, "The TLS handshake with a node failed.", context: "\(error)"))
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        admission.refuse(FastableError(.unavailable, "The connection was closed before the link was made."))
        context.fireChannelInactive()
    }
}

/// Answers a request that does not become a link, and closes.
final class LinkRefusalWriter<Identity: Sendable>: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let admission: LinkAdmission<Identity>

    init(admission: LinkAdmission<Identity>) { self.admission = admission }

    /// Answers at once: of a request that asked for the upgrade nothing more comes, and of others nothing matters.
    func handlerAdded(context: ChannelHandlerContext) {
        let error = admission.refusal()
        let body = MuxErrorText.encode(error)
        let headers: HTTPHeaders = [
            "Content-Type": "application/json", "Content-Length": "\(body.readableBytes)", "Connection": "close",
        ]
        let head = HTTPResponseHead(version: .http1_1, status: Self.status(of: error), headers: headers)
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in bound.value.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

    /// For proxies and people; a dialer reads the code in the body.
    private static func status(of error: FastableError) -> HTTPResponseStatus {
        switch error.code {
        case .notFound: .notFound
        case .unauthenticated: .unauthorized
        case .conflict: .conflict
        case .limit: .tooManyRequests
        case .unavailable, .timeout, .internal, .cancelled: .serviceUnavailable
        default: .forbidden
        }
    }
}
