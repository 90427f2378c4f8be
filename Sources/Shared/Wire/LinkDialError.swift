import FastableCore
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// What can go wrong while dialling, in words that say what to do.
enum LinkDialError {
    static func connecting(_ cause: any Error, to authority: String) -> any Error {
        if cause is CancellationError { return cause }
        let causes = [cause] + ((cause as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [])
        if causes.contains(where: isTimeout) { return timeout(authority, cause) }
        if causes.contains(where: { $0 is NIOSSLExtraError }) {
            return error(
                .invalid, "connect",
                "TLS cannot verify the name that was given for ‘\(authority)’. Give a host name, or none for an address.",
                cause)
        }
        return error(
            .unavailable, "connect",
            "‘\(authority)’ cannot be reached. Check the address, the firewall and that the controller is running.",
            cause)
    }

    static func handshakeTimeout(with authority: String) -> FastableError {
        error(
            .timeout, "upgrade",
            "‘\(authority)’ did not answer in time. Check that the address is that of a node listener.", nil)
    }

    static func handshake(_ cause: any Error, with authority: String) -> FastableError {
        switch cause {
        case let known as FastableError: known
        case is NIOSSLError, is BoringSSLError, is NIOSSLExtraError:
            error(
                .unauthenticated, "tls",
                "The TLS handshake with ‘\(authority)’ failed. Check that both ends belong to the same authority and that "
                    + "the listener's certificate is for this address.",
                cause)
        default:
            error(
                .unavailable, "upgrade", "‘\(authority)’ closed the connection before the link was made. Try again.",
                cause)
        }
    }

    /// The listener's answer: its own error when the body is one, otherwise what the status means.
    static func refused(_ status: HTTPResponseStatus, body: ByteBuffer) -> FastableError {
        let said = try? JSON.decode(FastableError.self, from: Data(body.readableBytesView))
        let code: FastableError.Code =
            switch status.code {
            case 401: .unauthenticated
            case 403: .forbidden
            case 404: .notFound
            case 409: .conflict
            case 429: .limit
            case 500...599: .unavailable
            default: .invalid
            }
        var refusal = said ?? FastableError(code, "The controller refused the link with HTTP status \(status.code).")
        refusal.context = "HTTP status \(status.code)"
        refusal.details["stage"] = "upgrade"
        refusal.details["status"] = .integer(Int64(status.code))
        return refusal
    }

    private static func timeout(_ authority: String, _ cause: any Error) -> FastableError {
        error(
            .timeout, "connect", "‘\(authority)’ did not answer in time. Check the address and the firewall.", cause)
    }

    private static func isTimeout(_ error: any Error) -> Bool {
        if case ChannelError.connectTimeout? = error as? ChannelError { true } else { false }
    }

    private static func error(
        _ code: FastableError.Code, _ stage: String, _ message: String, _ cause: (any Error)?
    ) -> FastableError {
        // What is wrong with certificates and names stays wrong; the network may be back in a moment.
        let isPassing = code == .unavailable || code == .timeout
        return FastableError(
            code, message, context: cause.map { "\($0)" }, details: ["stage": .string(stage)],
            retryAfterSeconds: isPassing ? 1 : nil)
    }
}
