import FastableCore
import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// Where the API may listen.
enum ListenRule {
    /// Tokens must not travel where others can read them: plain HTTP stays on this machine unless it is allowed by name.
    static func check(_ configuration: APIServerConfiguration) throws {
        guard configuration.tls == nil, !configuration.allowPlainHTTP, !isLoopback(configuration.host) else { return }
        throw FastableError(
            .invalid,
            "Refusing to listen on ‘\(configuration.host)’ in plain HTTP: tokens could be read on the way. Give "
                + "certificate files for TLS, listen on 127.0.0.1, or allow plain HTTP by name (allowPlainHTTP).",
            details: ["field": "host"])
    }

    static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    static func explain(_ error: IOError, _ configuration: APIServerConfiguration) -> FastableError {
        let place = "\(configuration.host):\(configuration.port)"
        let advice =
            switch error.errnoCode {
            case EADDRINUSE: "the port is taken. Stop what listens there, or choose another port"
            case EACCES: "it is not permitted. Ports below 1024 need root; choose a higher one"
            case EADDRNOTAVAIL: "this machine does not have that address"
            default: "\(error)"
            }
        return FastableError(.unavailable, "The API cannot listen on \(place): \(advice).", context: "\(error)")
    }
}
