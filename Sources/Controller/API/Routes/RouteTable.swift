package import HTTPTypes

/// Which handler answers a method and a path. Patterns are literal segments and `{name}` for one segment.
///
/// A table of our own, because a wrong method must answer 405 with `Allow`, and because the pattern is what logs and metrics
/// count, never the path with its ids.
package struct RouteTable<Handler: Sendable>: Sendable {
    package enum Match: Sendable {
        case found(Handler, pattern: String, parameters: [String: String])
        /// The path exists for other methods.
        case wrongMethod(pattern: String, allowed: [HTTPRequest.Method])
        case notFound
    }

    private struct Route: Sendable {
        let pattern: String
        let segments: [Substring]
        var handlers: [(method: HTTPRequest.Method, handler: Handler)]
    }

    private var routes: [Route] = []

    package init() {}

    package mutating func add(_ method: HTTPRequest.Method, _ pattern: String, _ handler: Handler) {
        if let index = routes.firstIndex(where: { $0.pattern == pattern }) {
            routes[index].handlers.append((method, handler))
        } else {
            routes.append(Route(pattern: pattern, segments: Self.segments(pattern), handlers: [(method, handler)]))
        }
    }

    /// The same routes with other handlers.
    package func map(_ transform: (Handler) -> Handler) -> RouteTable {
        var table = self
        for index in table.routes.indices {
            table.routes[index].handlers = table.routes[index].handlers.map { ($0.method, transform($0.handler)) }
        }
        return table
    }

    /// Throws `invalid` when the path is not percent-encoded UTF-8.
    package func match(_ method: HTTPRequest.Method, _ path: String) throws -> Match {
        let segments = Self.segments(path)
        for route in routes {
            guard let parameters = try Self.parameters(of: route.segments, in: segments) else { continue }
            if let entry = route.handlers.first(where: { $0.method == method }) {
                return .found(entry.handler, pattern: route.pattern, parameters: parameters)
            }
            return .wrongMethod(pattern: route.pattern, allowed: route.handlers.map(\.method))
        }
        return .notFound
    }

    private static func segments(_ path: String) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: false)
    }

    private static func parameters(of pattern: [Substring], in path: [Substring]) throws -> [String: String]? {
        guard pattern.count == path.count else { return nil }
        var parameters: [String: String] = [:]
        for (wanted, given) in zip(pattern, path) {
            if wanted.hasPrefix("{") {
                guard !given.isEmpty else { return nil }
                parameters[String(wanted.dropFirst().dropLast())] = try PercentCoding.decode(given)
            } else if wanted != given {
                return nil
            }
        }
        return parameters
    }
}
