import FastableCore
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore

/// What is known about a request when it ends: one log line.
struct RequestRecord: Sendable {
    let id: RequestID
    let method: HTTPRequest.Method
    /// The pattern of the route, never the path: paths have names in them that do not belong into a log.
    var route = "none"
    var token: TokenID?
    var failure: FastableError?
    private let began = ContinuousClock.now
    private var ended: ContinuousClock.Instant?

    /// A request id that the client sends goes on through all logs when it has our form; another one would not be unique.
    init(_ request: Request) {
        id = request.headers[.requestID].flatMap { RequestID($0) } ?? RequestID()
        method = request.head.method
    }

    /// Logs when the loop has done what it does now, which is to send the answer: nobody waits for the line.
    func logSoon(_ status: HTTPResponse.Status, to logger: Logger, on loop: any EventLoop) {
        var record = self
        record.ended = .now
        loop.execute { [record] in record.log(status, to: logger) }
    }

    func log(_ status: HTTPResponse.Status, brokenBy error: (any Error)? = nil, to logger: Logger) {
        let isInternal = failure?.code == .internal
        let level: Logger.Level = isInternal ? .error : (route == "/health" || route == "/ready") ? .debug : .info
        guard logger.logLevel <= level else { return }
        let milliseconds = Double(Int(((ended ?? .now) - began) / .microseconds(1))) / 1000
        var metadata: Logger.Metadata = [
            "request": "\(id)", "method": "\(method)", "route": "\(route)", "status": "\(status.code)",
            "ms": "\(milliseconds)",
        ]
        if let token { metadata["token"] = "\(token)" }
        if let failure { metadata["code"] = "\(failure.code.rawValue)" }
        // The cause is logged where it happened, except when it is known here only.
        if let failure, isInternal { metadata["error"] = "\(failure)" }
        if let error { metadata["broken"] = "\(error)" }
        logger.log(level: level, "\(error == nil ? "Answered a request." : "An answer broke off.")", metadata: metadata)
    }
}
